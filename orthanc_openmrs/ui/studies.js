// Studies: whose they are.
import { ask, askOrthanc, inWords } from "./api.js";
import { el, field, fill, newId } from "./dom.js";
import { say } from "./drawer.js";
import { patientKnown, patientLines, patientsLike, stranger, UUID } from "./patients.js";
import { folded, matches, wordsOf } from "./steps.js";
import { assignButton, openStudy, studyRow, unassignButton } from "./study.js";
import { personName, t } from "./texts.js";

const PAGE = 50;
const MOST_FOUND = 20; // studies that Orthanc's own search gives
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
    this._patient = patient ? stranger(patient) : null;
    this._found = [];
    this._drawn = false;
    if (this.name) this._read(); // it is shown already
    else if (patient) this._read();
    if (parameters.get("study")) this._open(parameters.get("study"));
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
                  patientLines(one),
                ),
              ),
            ),
          )
        : el("p", { class: "nothing" }, t("studies.nobody")),
    );
  }

  /** Patients, and studies that Orthanc finds by the name or the PatientID. */
  async _ask() {
    const typed = this._search.value.trim();
    const text = typed.replace(/[*?\\]/g, "");
    const turn = (this._asked = (this._asked ?? 0) + 1);
    let ids = [];
    try {
      const people = await patientsLike(typed, this._listed);
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
    this._patient = await patientKnown(id, this._listed);
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
          ? el("ul", { class: "studies" }, theirs.map((one) => el("li", {}, this._row(one, unassignButton(one, this._patient, () => this._read())))))
          : el("p", { class: "nothing" }, t("studies.none")),
        el("h3", {}, t("studies.candidates")),
        away
          ? el("p", { class: "problem" }, away)
          : candidates.length
            ? el("ul", { class: "studies" }, candidates.map((one) => el("li", {}, this._row(one, assignButton(one, this._patient, () => this._read())))))
            : el("p", { class: "nothing" }, t("studies.nocandidates")),
      ),
    );
    fill(this._name, personName(this._patient.name) || t("studies.patient"));
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
    return studyRow(study, (id) => this._open(id), actions);
  }

  _open(id) {
    return openStudy(id, this._listed, () => this._read());
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
