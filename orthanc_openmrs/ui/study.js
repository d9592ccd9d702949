// One study: its row in a list, its drawer, and the decision whose it is.
import { ask, inWords } from "./api.js";
import { el, newId } from "./dom.js";
import { act, confirm, openDrawer, say } from "./drawer.js";
import { findings, sureOfPatient } from "./fit.js";
import { patientKnown, patientLines, patientName, patientsLike, stranger, UUID } from "./patients.js";
import { badge, viewers } from "./steps.js";
import { dicomDate, dicomTime, personName, t } from "./texts.js";

const WAIT = 350; // ms after the last letter, before the patients are asked for

/** A study in a list; `open` opens it. */
export function studyRow(study, open, actions) {
  return el(
    "div",
    { class: "study" },
    el(
      "div",
      { class: "study-main" },
      el(
        "button",
        { type: "button", class: "open", data: { focus: `study-${study.ID}` }, onclick: () => open(study.ID) },
        personName(study.PatientName) || t("studies.nameless"),
      ),
      el(
        "span",
        { class: "second" },
        [dicomDate(study.PatientBirthDate), study.PatientSex].filter(Boolean).join(" · "),
        " ",
        el("code", {}, study.PatientID),
      ),
      el(
        "span",
        { class: "second" },
        [
          [dicomDate(study.StudyDate), dicomTime(study.StudyTime)].filter(Boolean).join(" "),
          study.ModalitiesInStudy.join(", "),
          study.StudyDescription,
          t("studies.images", { n: study.Instances }),
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      study.Findings ? findings(study.Findings) : null,
    ),
    "Score" in study
      ? el(
          "span",
          { class: "score" },
          el("meter", { min: 0, max: 100, value: study.Score, "aria-label": t("studies.score") }),
          el("span", {}, t("studies.scored", { score: study.Score })),
        )
      : badge(study.Patient ? "good" : "wait", t(study.Source ? `source.${study.Source}` : "source.nobody")),
    actions.length ? el("div", { class: "actions" }, actions) : null,
  );
}

/** The button that makes a study a patient's. */
export function assignButton(study, patient, done) {
  const button = el("button", { type: "button", class: "button primary", data: { focus: `assign-${study.ID}` } }, t("studies.assign"));
  button.addEventListener("click", async () => {
    const words = { study: personName(study.PatientName) || study.PatientID, patient: patientName(patient) };
    const sure = await act(button, () => sureOfPatient(study, patient));
    if (!sure) return;
    const moved = study.Patient && study.Patient !== patient.id;
    const path = `patients/${encodeURIComponent(patient.id)}/studies/${study.ID}`;
    const answer = await act(button, () => ask(path, { method: "PUT", body: moved ? { Force: true } : {} }));
    if (!answer) return;
    done(patient.id);
    say(t("studies.assign.done", words));
  });
  return button;
}

/** The button that takes a study from its patient. */
export function unassignButton(study, patient, done) {
  const button = el("button", { type: "button", class: "button", data: { focus: `unassign-${study.ID}` } }, t("studies.unassign"));
  button.addEventListener("click", async () => {
    const words = { study: personName(study.PatientName) || study.PatientID };
    if (!(await confirm(t("studies.unassign.sure", words), t("studies.unassign.explained"), t("studies.unassign"), { danger: true }))) return;
    const path = `patients/${encodeURIComponent(patient.id)}/studies/${study.ID}`;
    const answer = await act(button, () => ask(path, { method: "DELETE" }));
    if (!answer) return;
    done();
    say(t("studies.unassign.done", words));
  });
  return button;
}

/** Opens a study in a drawer; `changed` is called when a person decided whose it is. */
export async function openStudy(page, id, changed) {
  let study;
  try {
    study = await ask(`studies/${encodeURIComponent(id)}`);
  } catch (problem) {
    say(inWords(problem), { bad: true });
    return;
  }
  const onClose = page.opened("study", id);
  const drawer = openDrawer(personName(study.PatientName) || t("studies.nameless"), { onClose });
  const owner = study.Patient;
  const known = owner ? (await patientKnown(owner)) ?? stranger(owner) : null;
  drawer.body.append(
    el(
      "p",
      { class: "lead" },
      badge(owner ? "good" : "wait", t(study.Source ? `source.${study.Source}` : "source.nobody")),
      el("span", {}, [study.ModalitiesInStudy.join(", "), study.StudyDescription].filter(Boolean).join(" · ")),
    ),
    el("p", { class: "links" }, viewers(study)),
    el(
      "dl",
      { class: "values" },
      [
        ["key.PatientID", el("code", {}, study.PatientID)],
        ["key.PatientBirthDate", dicomDate(study.PatientBirthDate) || "–"],
        ["key.PatientSex", study.PatientSex || "–"],
        ["key.AccessionNumber", study.AccessionNumber ? el("code", {}, study.AccessionNumber) : "–"],
        ["key.StudyDate", [dicomDate(study.StudyDate), dicomTime(study.StudyTime)].filter(Boolean).join(" ") || "–"],
        ["studies.owner", owner ? el("a", { href: `#studies?patient=${encodeURIComponent(owner)}` }, personName(known.name) || el("code", {}, owner)) : t("source.nobody")],
        ["studies.steps", study.Steps.length ? study.Steps.map((one, at) => [at ? ", " : "", el("a", { href: `#worklist?show=all&step=${encodeURIComponent(one)}` }, one)]) : "–"],
        ["studies.size", `${t("studies.series", { n: study.Series })}, ${t("studies.images", { n: study.Instances })}`],
        ["key.StudyInstanceUID", el("code", {}, study.StudyInstanceUID)],
      ].map(([key, value]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}, value))),
    ),
    study.Notifications.length
      ? el(
          "section",
          {},
          el("h3", {}, t("part.notifications")),
          el(
            "ul",
            { class: "plain-list" },
            study.Notifications.map((one) =>
              el("li", {}, el("a", { href: `#notifications?state=all&id=${one.ID}` }, t(`state.one.${one.State}`)), " ", one.Reason || one.LastError || (one.ScheduledProcedureStepID ? t("step.one", { id: one.ScheduledProcedureStepID }) : "")),
            ),
          ),
        )
      : "",
    whose(drawer, study, changed),
  );
}

/** Patients whom a study names by its PatientID or its patient's name. */
async function suggested(study) {
  const [family] = study.PatientName.split(/[\^=]/);
  const asked = [study.PatientID, personName(study.PatientName).replace(",", ""), family].map((one) => one.trim());
  const found = await Promise.all([...new Set(asked)].filter(Boolean).map(patientsLike));
  return [...new Map(found.flat().map((one) => [one.id, one])).values()].slice(0, 8);
}

/** Chooses the patient of a study. */
function whose(drawer, study, changed) {
  const id = newId();
  const found = el("div", { class: "options" });
  const input = el("input", { id, type: "search", autocomplete: "off", placeholder: t("patients.search.hint") });
  const done = (patient) => {
    drawer.close();
    changed(patient);
  };
  let later = 0;
  let turn = 0;
  const list = async () => {
    const mine = (turn += 1);
    const typed = input.value.trim();
    let people;
    try {
      people = typed ? await patientsLike(typed) : await suggested(study);
    } catch (problem) {
      say(inWords(problem), { bad: true });
      return;
    }
    if (mine !== turn) return;
    found.replaceChildren(
      ...(!typed && people.length ? [el("p", { class: "second" }, t("patients.suggested"))] : []),
      ...people.map((one) =>
        el(
          "div",
          { class: "option choose" },
          el("div", {}, patientLines(one)),
          assignButton(study, one, done),
        ),
      ),
      ...(typed && !people.length ? [el("p", { class: "nothing" }, t(UUID.test(typed) ? "patients.denied" : "studies.nobody"))] : []),
    );
  };
  input.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(list, WAIT);
  });
  if (!study.Patient) list();
  return el(
    "section",
    {},
    el("h3", {}, t(study.Patient ? "studies.move" : "studies.give")),
    el("div", { class: "field wide" }, el("label", { for: id }, t("patients.search")), input),
    found,
    study.Patient ? el("p", { class: "actions" }, unassignButton(study, stranger(study.Patient), done)) : "",
  );
}
