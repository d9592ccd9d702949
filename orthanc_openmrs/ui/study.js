// One study: its row in a list, its drawer, and the decision whose it is.
import { ask, inWords } from "./api.js";
import { el, newId } from "./dom.js";
import { act, confirm, openDrawer, say } from "./drawer.js";
import { patientKnown, patientLines, patientsLike } from "./patients.js";
import { badge, viewers } from "./steps.js";
import { dicomDate, personName, t } from "./texts.js";

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
      el("span", { class: "second" }, el("code", {}, study.PatientID)),
      el(
        "span",
        { class: "second" },
        [
          dicomDate(study.StudyDate),
          study.ModalitiesInStudy.join(", "),
          study.StudyDescription,
          t("studies.images", { n: study.Instances }),
        ]
          .filter(Boolean)
          .join(" · "),
      ),
      study.Reasons ? el("ul", { class: "reasons" }, study.Reasons.map((reason) => el("li", {}, reason))) : null,
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
    const words = { study: personName(study.PatientName) || study.PatientID, patient: personName(patient.name) || patient.id };
    const moved = study.Patient && study.Patient !== patient.id;
    if (!(await confirm(t("studies.assign.sure", words), t(moved ? "studies.assign.moved" : "studies.assign.explained", words), t("studies.assign")))) return;
    const path = `patients/${encodeURIComponent(patient.id)}/studies/${study.ID}`;
    const answer = await act(button, () => ask(path, { method: "PUT", body: moved ? { Force: true } : {} }));
    if (!answer) return;
    done();
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
export async function openStudy(id, listed, changed) {
  let study;
  try {
    study = await ask(`studies/${encodeURIComponent(id)}`);
  } catch (problem) {
    say(inWords(problem), { bad: true });
    return;
  }
  const drawer = openDrawer(personName(study.PatientName) || t("studies.nameless"));
  const owner = study.Patient;
  const known = owner ? await patientKnown(owner, listed) : null;
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
        ["key.StudyDate", dicomDate(study.StudyDate) || "–"],
        ["studies.owner", owner ? el("a", { href: `#studies?patient=${encodeURIComponent(owner)}` }, personName(known.name) || el("code", {}, owner)) : t("source.nobody")],
        ["studies.steps", study.Steps.join(", ") || "–"],
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
              el("li", {}, el("a", { href: `#notifications?state=${one.State}` }, t(`state.one.${one.State}`)), " ", one.Reason || one.LastError || (one.ScheduledProcedureStepID ? t("step.one", { id: one.ScheduledProcedureStepID }) : "")),
            ),
          ),
        )
      : "",
    whose(drawer, study, listed, changed),
  );
}

/** Chooses the patient of a study. */
function whose(drawer, study, listed, changed) {
  const id = newId();
  const found = el("div", { class: "options" });
  const input = el("input", { id, type: "search", autocomplete: "off", placeholder: t("studies.search.hint") });
  const done = () => {
    drawer.close();
    changed();
  };
  let later = 0;
  let turn = 0;
  const list = async () => {
    const mine = (turn += 1);
    const typed = input.value.trim();
    let people;
    try {
      people = await patientsLike(typed, listed);
    } catch (problem) {
      say(inWords(problem), { bad: true });
      return;
    }
    if (mine !== turn) return;
    found.replaceChildren(
      ...people.map((one) =>
        el(
          "div",
          { class: "option choose" },
          el("div", {}, patientLines(one)),
          assignButton(study, one, done),
        ),
      ),
      ...(typed && !people.length ? [el("p", { class: "nothing" }, t("studies.nobody"))] : []),
    );
  };
  input.addEventListener("input", () => {
    clearTimeout(later);
    later = setTimeout(list, WAIT);
  });
  return el(
    "section",
    {},
    el("h3", {}, t(study.Patient ? "studies.move" : "studies.give")),
    el("div", { class: "field wide" }, el("label", { for: id }, t("studies.search")), input),
    found,
    study.Patient ? el("p", { class: "actions" }, unassignButton(study, { id: study.Patient, name: "" }, done)) : "",
  );
}
