// Studies: whose they are.
import { ask, askOrthanc, inWords } from "./api.js";
import { el, fill, newId } from "./dom.js";
import { act, confirm, openDrawer, say } from "./drawer.js";
import { viewers } from "./notifications.js";
import { badge, folded, matches, patientsOf, wordsOf } from "./steps.js";
import { dicomDate, personName, t } from "./texts.js";
import { field } from "./worklist.js";

const PAGE = 50;
const MOST_PATIENTS = 8;
const MOST_STEPS = 200; // of which these patients are
const MOST_FOUND = 20; // studies that Orthanc's own search gives
const UUID = /^[0-9A-Za-z-]{36,38}$/;
const WAIT = 350; // ms after the last letter, before Orthanc is asked

export class Studies {
  constructor(page, parameters) {
    this._page = page;
    this._limit = PAGE;
    this._turn = 0;
    this._listed = page.status ? page.status.Worklist.Revision !== "" : true;
    this._patient = null; // {id, name, born, sex}
    this._unassigned = [];
    this._found = [];
    const id = newId();
    this._search = el("input", {
      id,
      type: "search",
      autocomplete: "off",
      placeholder: t("studies.search.hint"),
      oninput: () => this._typed(),
    });
    this._problem = el("div", { class: "problem", role: "alert" });
    this._who = el("div", { class: "patients" });
    this._theirs = el("div", {});
    this._title = el("h2", {}, t("studies.unassigned"));
    this._count = el("p", { class: "counted", role: "status" });
    this._list = el("ul", { class: "studies" });
    this._more = el(
      "button",
      {
        type: "button",
        class: "button",
        hidden: true,
        onclick: () => {
          this._limit += PAGE;
          this._read();
        },
      },
      t("studies.more"),
    );
    this.node = el(
      "div",
      {},
      el("div", { class: "tools", role: "search", "aria-label": t("studies.tools") }, field(id, t("studies.search"), this._search, "wide")),
      this._problem,
      this._who,
      this._theirs,
      el("section", {}, this._title, this._count, this._list, this._more),
    );
    this.follow(parameters);
  }

  enter() {
    if (!this._patient) this._read();
  }

  leave() {
    this._turn += 1;
    clearTimeout(this._later);
  }

  follow(parameters) {
    const patient = parameters.get("patient");
    this._patient = patient ? { id: patient, name: "", born: "", sex: "" } : null;
    this._found = [];
    this._drawn = false;
    if (this.name) this._read(); // it is shown already
    else if (patient) this._read();
    if (parameters.get("study")) this._openStudy(parameters.get("study"));
    else if (parameters.get("of")) this._openPatientOf(parameters.get("of"));
  }

  update(status) {
    this._listed = status.Worklist.Revision !== "";
    const counts = JSON.stringify(status.Notifications);
    if (counts !== this._counts && this._counts !== undefined) this._read();
    this._counts = counts;
  }

  // --- search ---

  _typed() {
    clearTimeout(this._later);
    this._draw();
    this._later = setTimeout(() => this._ask(), WAIT);
  }

  /** Shows the patients that were found. */
  _people(found) {
    fill(
      this._who,
      el("h2", {}, t("studies.patients")),
      found.length
        ? el(
            "ul",
            {},
            found.map((one) =>
              el(
                "li",
                {},
                el(
                  "a",
                  { href: `#studies?patient=${encodeURIComponent(one.id)}`, data: { focus: `patient-${one.id}` } },
                  el("strong", {}, personName(one.name) || t("studies.nameless")),
                  el("span", { class: "second" }, [dicomDate(one.born), one.sex].filter(Boolean).join(" · ")),
                  el("code", {}, one.id),
                ),
              ),
            ),
          )
        : el("p", { class: "nothing" }, t("studies.nobody")),
    );
  }

  /** Patients of the list that the words fit, and the one whose uuid was given. */
  async _patientsLike(typed) {
    if (!typed) return [];
    const steps = this._listed
      ? await ask("worklist", { query: { search: typed, limit: MOST_STEPS } })
      : [];
    const found = patientsOf(steps).slice(0, MOST_PATIENTS);
    if (UUID.test(typed) && !found.some((one) => one.id === typed)) {
      found.unshift({ id: typed, name: "", born: "", sex: "" });
    }
    return found;
  }

  /** Patients, and studies that Orthanc finds by the name or the PatientID. */
  async _ask() {
    const typed = this._search.value.trim();
    const text = typed.replace(/[*?\\]/g, "");
    const turn = (this._asked = (this._asked ?? 0) + 1);
    let ids = [];
    try {
      const people = await this._patientsLike(typed);
      if (turn !== this._asked) return;
      if (typed) this._people(people);
      else fill(this._who);
    } catch (problem) {
      if (problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    }
    if (text.length > 1) {
      try {
        const find = (keyword) =>
          askOrthanc("tools/find", {
            method: "POST",
            body: { Level: "Study", Query: { [keyword]: `*${text}*` }, Limit: MOST_FOUND, CaseSensitive: false },
          });
        ids = [...new Set((await Promise.all([find("PatientName"), find("PatientID")])).flat())];
        ids = ids.slice(0, MOST_FOUND);
        const known = new Map(this._unassigned.map((one) => [one.ID, one]));
        const studies = await Promise.all(ids.map((id) => known.get(id) ?? ask(`studies/${id}`)));
        if (turn === this._asked) this._found = studies;
      } catch (problem) {
        if (problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
      }
    } else if (turn === this._asked) this._found = [];
    if (turn === this._asked) this._draw();
  }

  // --- lists ---

  async _read() {
    const turn = (this._turn += 1);
    try {
      const unassigned = await ask("studies", { query: { assigned: "false", limit: this._limit + 1 } });
      if (turn !== this._turn) return;
      this._more.hidden = unassigned.length <= this._limit;
      this._unassigned = unassigned.slice(0, this._limit);
      fill(this._problem);
      if (this._patient) await this._readPatient(turn);
      else fill(this._theirs);
      if (turn === this._turn) this._draw();
    } catch (problem) {
      if (turn === this._turn && problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    }
  }

  async _readPatient(turn) {
    const { id } = this._patient;
    this._patient = await this._known(id);
    const path = `patients/${encodeURIComponent(id)}`;
    const theirs = await ask(`${path}/studies`);
    if (turn !== this._turn) return;
    let candidates = [];
    let away = "";
    try {
      candidates = await ask(`${path}/candidates`);
    } catch (problem) {
      away = inWords(problem);
    }
    if (turn !== this._turn) return;
    this._candidates = candidates;
    this._name = el("h2", {});
    fill(
      this._theirs,
      el(
        "section",
        { class: "patient" },
        this._name,
        el("p", { class: "second" }, el("code", {}, id)),
        el("p", {}, el("a", { href: "#studies" }, t("studies.all"))),
        el("h3", {}, t("studies.theirs")),
        theirs.length
          ? el("ul", { class: "studies" }, theirs.map((one) => el("li", {}, this._row(one, this._unassign(one)))))
          : el("p", { class: "nothing" }, t("studies.none")),
        el("h3", {}, t("studies.candidates")),
        away
          ? el("p", { class: "problem" }, away)
          : candidates.length
            ? el("ul", { class: "studies" }, candidates.map((one) => el("li", {}, this._row(one, this._assign(one)))))
            : el("p", { class: "nothing" }, t("studies.nocandidates")),
      ),
    );
    fill(this._name, personName(this._patient.name) || t("studies.patient"));
  }

  /** What the list says of a patient. */
  async _known(id) {
    const steps = this._listed ? await ask("worklist", { query: { PatientID: id, limit: 1 } }) : [];
    return patientsOf(steps)[0] ?? { id, name: "", born: "", sex: "" };
  }

  _draw() {
    const words = wordsOf(this._search.value);
    const ids = new Set(this._found.map((one) => one.ID));
    const shown = words.length
      ? [
          ...this._found,
          ...this._unassigned.filter(
            (one) => !ids.has(one.ID) && matches(folded(`${one.PatientName} ${personName(one.PatientName)} ${one.PatientID}`), words),
          ),
        ]
      : this._unassigned;
    const hidden = this._patient && !words.length;
    this._title.parentElement.hidden = Boolean(hidden);
    fill(this._title, t(words.length ? "studies.found" : "studies.unassigned"));
    fill(
      this._count,
      shown.length
        ? t(this._more.hidden || words.length ? "studies.count" : "studies.count.more", { n: shown.length })
        : t(words.length ? "studies.notfound" : "studies.allassigned"),
    );
    const before = new Map([...this._list.children].map((row) => [row.dataset.id, row]));
    const rows = shown.map((study) => {
      const row = before.get(study.ID) ?? el("li", { data: { id: study.ID } });
      fill(row, this._row(study));
      return row;
    });
    for (const row of [...this._list.children]) if (!rows.includes(row)) row.remove();
    rows.forEach((row, at) => {
      if (this._list.children[at] !== row) this._list.insertBefore(row, this._list.children[at] ?? null);
    });
  }

  _row(study, ...actions) {
    return el(
      "div",
      { class: "study" },
      el(
        "div",
        { class: "study-main" },
        el(
          "button",
          { type: "button", class: "open", data: { focus: `study-${study.ID}` }, onclick: () => this._openStudy(study.ID) },
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

  // --- decisions ---

  _assign(study, patient = this._patient, done = () => {}) {
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
      this._read();
    });
    return button;
  }

  _unassign(study, patient = this._patient, done = () => {}) {
    const button = el("button", { type: "button", class: "button", data: { focus: `unassign-${study.ID}` } }, t("studies.unassign"));
    button.addEventListener("click", async () => {
      const words = { study: personName(study.PatientName) || study.PatientID };
      if (!(await confirm(t("studies.unassign.sure", words), t("studies.unassign.explained"), t("studies.unassign"), { danger: true }))) return;
      const path = `patients/${encodeURIComponent(patient.id)}/studies/${study.ID}`;
      const answer = await act(button, () => ask(path, { method: "DELETE" }));
      if (!answer) return;
      done();
      say(t("studies.unassign.done", words));
      this._read();
    });
    return button;
  }

  // --- one study ---

  async _openStudy(id) {
    let study;
    try {
      study = await ask(`studies/${encodeURIComponent(id)}`);
    } catch (problem) {
      say(inWords(problem), { bad: true });
      return;
    }
    const drawer = openDrawer(personName(study.PatientName) || t("studies.nameless"));
    const owner = study.Patient;
    const known = owner ? await this._known(owner) : null;
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
      this._whose(drawer, study),
    );
  }

  /** Chooses the patient of a study. */
  _whose(drawer, study) {
    const id = newId();
    const found = el("div", { class: "options" });
    const input = el("input", { id, type: "search", autocomplete: "off", placeholder: t("studies.search.hint") });
    const done = () => drawer.close();
    let later = 0;
    let turn = 0;
    const list = async () => {
      const mine = (turn += 1);
      const typed = input.value.trim();
      let people;
      try {
        people = await this._patientsLike(typed);
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
            el("div", {}, el("strong", {}, personName(one.name) || t("studies.nameless")), el("span", { class: "second" }, [dicomDate(one.born), one.sex].filter(Boolean).join(" · ")), el("code", {}, one.id)),
            this._assign(study, one, done),
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
      study.Patient ? el("p", { class: "actions" }, this._unassign(study, { id: study.Patient, name: "" }, done)) : "",
    );
  }

  /** From Orthanc Explorer's page of a patient: who that is by its PatientID. */
  async _openPatientOf(resource) {
    try {
      const patient = await askOrthanc(`patients/${encodeURIComponent(resource)}`);
      const { PatientID: id = "", PatientName: name = "" } = patient.MainDicomTags;
      if (UUID.test(id)) {
        location.replace(`#studies?patient=${encodeURIComponent(id)}`);
        return;
      }
      this._search.value = id || personName(name);
      this._typed();
    } catch (problem) {
      say(inWords(problem), { bad: true });
    }
  }
}
