// Studies: searched among all, and whose they are.
import { ask, askOrthanc, askPage, inWords } from "./api.js";
import { el, field, fill, newId } from "./dom.js";
import { say } from "./drawer.js";
import { patientKnown, patientLines, patientName, patientsLike, stranger, UUID } from "./patients.js";
import { asAsked } from "./search.js";
import { assignButton, openStudy, studyRow, unassignButton } from "./study.js";
import { number, personName, t, today } from "./texts.js";

const PAGE = 50;
const WAIT = 300; // ms after the last letter, before the plugin is asked
const WHOSE = { nobodys: "false", somebodys: "true", all: "" };
const DAYS = { any: null, today: 0, week: 6, month: 30 };
const MODALITIES = ["CR", "CT", "DX", "ES", "IO", "MG", "MR", "NM", "OT", "PT", "RF", "US", "XA", "XC"];

export class Studies {
  constructor(page, parameters) {
    this._page = page;
    this._limit = PAGE;
    this._turn = 0;
    this._patient = null;
    const [search, whose, days, modality] = [newId(), newId(), newId(), newId()];
    this._search = el("input", {
      id: search,
      type: "search",
      autocomplete: "off",
      maxlength: 128,
      placeholder: t("studies.search.hint"),
      oninput: () => this._typed(),
    });
    this._whose = select(whose, Object.keys(WHOSE), (one) => t(`whose.${one}`), () => this._changed());
    this._days = select(days, Object.keys(DAYS), (one) => t(`days.${one}`), () => this._changed());
    this._modality = el(
      "select",
      { id: modality, onchange: () => this._changed() },
      el("option", { value: "" }, t("all")),
      MODALITIES.map((one) => el("option", { value: one }, one)),
    );
    this._problem = el("div", { class: "problem", role: "alert" });
    this._who = el("div", { class: "patients" });
    this._theirs = el("div", {});
    this._title = el("h2", {}, t("studies.unassigned"));
    this._count = el("p", { class: "counted", role: "status" });
    this._list = el("ul", { class: "studies" });
    this._more = el(
      "button",
      { type: "button", class: "button", hidden: true, onclick: () => this._readMore() },
      t("studies.more"),
    );
    this.node = el(
      "div",
      {},
      el(
        "div",
        { class: "tools", role: "search", "aria-label": t("studies.tools") },
        field(search, t("studies.search"), this._search, "wide"),
        field(whose, t("studies.whose"), this._whose),
        field(days, t("studies.days"), this._days),
        field(modality, t("column.modality"), this._modality),
      ),
      this._problem,
      this._who,
      this._theirs,
      el("section", {}, this._title, this._count, this._list, this._more),
    );
    this.follow(parameters);
  }

  enter() {
    this._read();
  }

  leave() {
    this._turn += 1;
    clearTimeout(this._later);
  }

  follow(parameters) {
    const patient = parameters.get("patient");
    this._patient = patient ? stranger(patient) : null;
    this._search.value = parameters.get("search") ?? "";
    this._whose.value = parameters.get("whose") in WHOSE ? parameters.get("whose") : "nobodys";
    this._days.value = parameters.get("days") in DAYS ? parameters.get("days") : "any";
    this._modality.value = MODALITIES.includes(parameters.get("modality")) ? parameters.get("modality") : "";
    this._limit = PAGE;
    if (this.name) this._read(); // it is shown already
    if (patient) scrollTo(0, 0);
    if (parameters.get("study")) this._open(parameters.get("study"));
    else if (parameters.get("of")) this._openPatientOf(parameters.get("of"));
  }

  update(status) {
    const counts = JSON.stringify(status.Notifications);
    if (counts !== this._counts && this._counts !== undefined) this._read();
    this._counts = counts;
  }

  _typed() {
    clearTimeout(this._later);
    this._later = setTimeout(() => this._changed(), WAIT);
  }

  /** Another question: it goes into the address, and the plugin is asked. */
  _changed() {
    // Who searches looks among all; who only filters keeps what was chosen.
    if (this._search.value.trim() && this._whose.value === "nobodys" && !this._narrowed) {
      this._whose.value = "all";
      this._narrowed = true;
    } else if (!this._search.value.trim() && this._narrowed) {
      this._whose.value = "nobodys";
      this._narrowed = false;
    }
    this._limit = PAGE;
    this._page.remember("studies", {
      patient: this._patient?.id,
      search: this._search.value.trim(),
      whose: this._whose.value === "nobodys" ? "" : this._whose.value,
      days: this._days.value === "any" ? "" : this._days.value,
      modality: this._modality.value,
    });
    this._read();
  }

  _readMore() {
    this._limit = Math.min(1000, this._limit + PAGE);
    this._read();
  }

  async _read() {
    const turn = (this._turn += 1);
    const typed = this._search.value.trim();
    try {
      const [found, people] = await Promise.all([
        askPage("studies", this._question(typed)),
        typed ? patientsLike(typed) : [],
      ]);
      if (turn !== this._turn) return;
      fill(this._problem);
      this._people(typed, people);
      if (this._patient) await this._readPatient(turn);
      else fill(this._theirs);
      if (turn === this._turn) this._draw(found, typed);
    } catch (problem) {
      if (turn === this._turn && problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    }
  }

  _question(typed) {
    const query = { newest: "true", limit: this._limit };
    const back = DAYS[this._days.value];
    if (typed) query.search = asAsked(typed);
    if (WHOSE[this._whose.value]) query.assigned = WHOSE[this._whose.value];
    if (back !== null) query.date = `${today(-back)}-${today()}`;
    if (this._modality.value) query.modality = this._modality.value;
    return query;
  }

  /** Shows the patients that were found. */
  _people(typed, found) {
    if (!typed) return fill(this._who);
    return fill(
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
        : el("p", { class: "nothing" }, t(UUID.test(typed) ? "patients.denied" : "studies.nobody")),
    );
  }

  async _readPatient(turn) {
    const { id } = this._patient;
    const path = `patients/${encodeURIComponent(id)}`;
    const [known, theirs] = await Promise.all([patientKnown(id), ask(`${path}/studies`)]);
    if (turn !== this._turn) return;
    this._patient = known ?? stranger(id);
    let candidates = [];
    let away = known ? "" : t("patients.denied");
    try {
      if (known) candidates = await ask(`${path}/candidates`);
    } catch (problem) {
      away = inWords(problem);
    }
    if (turn !== this._turn) return;
    const again = () => this._read();
    const list = (studies, button) =>
      el("ul", { class: "studies" }, studies.map((one) => el("li", {}, this._row(one, button(one, this._patient, again)))));
    fill(
      this._theirs,
      el(
        "section",
        { class: "patient" },
        el("h2", {}, personName(this._patient.name) || t("studies.patient")),
        el("p", { class: "patient-lines" }, patientLines(this._patient)),
        el("p", {}, el("a", { href: "#studies" }, t("studies.all"))),
        el("h3", {}, t("studies.theirs")),
        theirs.length ? list(theirs, unassignButton) : el("p", { class: "nothing" }, t("studies.none")),
        el("h3", {}, t("studies.candidates")),
        away
          ? el("p", { class: "problem" }, away)
          : candidates.length
            ? list(candidates, assignButton)
            : el("p", { class: "nothing" }, t("studies.nocandidates")),
      ),
    );
  }

  _draw({ items, total }, typed) {
    const asked = typed || this._whose.value !== "nobodys" || this._days.value !== "any" || this._modality.value;
    this._title.parentElement.hidden = Boolean(this._patient && !asked);
    fill(this._title, t(asked ? "studies.found" : "studies.unassigned"));
    fill(
      this._count,
      !total
        ? t(asked ? "studies.notfound" : "studies.allassigned")
        : items.length < total
          ? t("studies.part", { n: items.length, of: number(total) })
          : t("studies.count", { n: total }),
    );
    this._more.hidden = items.length >= total || this._limit >= 1000;
    const before = new Map([...this._list.children].map((row) => [row.dataset.id, row]));
    const rows = items.map((study) => {
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
    return openStudy(this._page, id, (patient) => {
      if (patient && this.name) location.hash = `studies?patient=${encodeURIComponent(patient)}`;
      else this._read();
    });
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
      this._search.value = id || patientName({ name });
      this._changed();
    } catch (problem) {
      say(inWords(problem), { bad: true });
    }
  }
}

function select(id, values, words, onchange) {
  return el("select", { id, onchange }, values.map((one) => el("option", { value: one }, words(one))));
}
