// Notifications: what OpenMRS is told, and what a person must decide.
import { ask, askOrthanc, inWords, orthancAddress } from "./api.js";
import { add, el, fill, newId } from "./dom.js";
import { act, confirm, openDrawer, say } from "./drawer.js";
import { badge, folded, haystack, keyName, matches, readSteps, shown, wordsOf } from "./steps.js";
import { dicomDate, moment, number, personName, t } from "./texts.js";

const STATES = ["held", "failed", "pending", "delivered", "discarded"];
const KIND = { held: "wait", failed: "bad", pending: "wait", delivered: "good", discarded: "done" };
const PAGE = 50;
const MOST_STEPS = 20; // of the steps that a person may choose from

export class Notifications {
  constructor(page, parameters) {
    this._page = page;
    this._known = new Map(); // study → what Orthanc says of it, null where it is gone
    this._found = [];
    this._limit = PAGE;
    this._turn = 0;
    this._busy = false;
    this._choice = el("div", { class: "choice", role: "group", "aria-label": t("told.states") });
    this._count = el("p", { class: "counted", role: "status" });
    this._problem = el("div", { class: "problem", role: "alert" });
    this._list = el("ul", { class: "told" });
    this._older = el(
      "button",
      { type: "button", class: "button", hidden: true, onclick: () => this._more() },
      t("told.older"),
    );
    this.node = el("div", {}, this._choice, this._problem, this._count, this._list, this._older);
    this.follow(parameters);
  }

  enter() {}

  leave() {
    this._turn += 1;
  }

  follow(parameters) {
    const state = parameters.get("state");
    this._state = STATES.includes(state) ? state : state === "all" ? "" : null;
    this._limit = PAGE;
    this._busy = false;
    if (this._status) this.update(this._status);
  }

  update(status) {
    this._status = status;
    const counts = status.Notifications;
    if (this._state === null) this._state = counts.Held ? "held" : counts.Failed ? "failed" : "";
    fill(
      this._choice,
      ["", ...STATES].map((state) =>
        el(
          "a",
          {
            href: `#notifications?state=${state || "all"}`,
            "aria-current": state === this._state ? "true" : null,
            data: { focus: `state-${state}` },
          },
          t(state ? `state.${state}` : "all"),
          state ? el("span", { class: "count" }, number(counts[capital(state)] ?? 0)) : null,
        ),
      ),
    );
    if (!this._busy) this._read();
  }

  _more() {
    this._limit = Math.min(1000, this._limit + PAGE);
    this._read();
  }

  async _read() {
    const turn = (this._turn += 1);
    this._busy = true;
    try {
      const query = { newest: "true", limit: this._limit + 1 > 1000 ? 1000 : this._limit + 1 };
      if (this._state) query.state = this._state;
      const found = await ask("notifications", { query });
      if (turn !== this._turn) return;
      this._older.hidden = found.length <= this._limit || this._limit >= 1000;
      this._found = found.slice(0, this._limit);
      fill(this._problem);
      await this._learn();
      if (turn === this._turn) this._draw();
    } catch (problem) {
      if (turn === this._turn && problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    } finally {
      if (turn === this._turn) this._busy = false;
    }
  }

  /** Asks Orthanc whose studies these are, once for each. */
  async _learn() {
    const unknown = [...new Set(this._found.map((one) => one.Study))].filter((one) => !this._known.has(one));
    if (!unknown.length) return;
    const answers = await askOrthanc("tools/bulk-content", {
      method: "POST",
      body: { Resources: unknown, Metadata: false },
    });
    const studies = new Map(answers.map((one) => [one.ID, one]));
    for (const study of unknown) this._known.set(study, studies.get(study) ?? null);
  }

  _draw() {
    fill(
      this._count,
      this._found.length ? t("told.count", { n: this._found.length }) : t(this._state ? `told.none.${this._state}` : "told.none"),
    );
    const before = new Map([...this._list.children].map((row) => [row.dataset.id, row]));
    const rows = this._found.map((told) => {
      const row = before.get(String(told.ID)) ?? el("li", { data: { id: told.ID } });
      fill(row, this._row(told));
      return row;
    });
    for (const row of [...this._list.children]) if (!rows.includes(row)) row.remove();
    rows.forEach((row, at) => {
      if (this._list.children[at] !== row) this._list.insertBefore(row, this._list.children[at] ?? null);
    });
  }

  _row(told) {
    const study = this._known.get(told.Study);
    const name = study ? personName(study.PatientMainDicomTags.PatientName) : "";
    return el(
      "button",
      {
        type: "button",
        class: "told-row",
        data: { focus: `told-${told.ID}` },
        onclick: () => this._open(told.ID),
      },
      badge(KIND[told.State], t(`state.one.${told.State}`)),
      el(
        "span",
        { class: "told-main" },
        el("span", { class: "told-name" }, name || (study === null ? t("told.gone") : t("empty"))),
        el("span", { class: "second" }, this._about(told, study)),
      ),
      el("span", { class: "told-why" }, told.Reason || told.LastError || ""),
      el("span", { class: "told-at second" }, moment(told.Delivered ?? told.Created)),
    );
  }

  _about(told, study) {
    const tags = study?.MainDicomTags ?? {};
    return [
      told.ScheduledProcedureStepID ? t("step.one", { id: told.ScheduledProcedureStepID }) : t("told.nostep"),
      tags.StudyDescription,
      dicomDate(tags.StudyDate),
    ]
      .filter(Boolean)
      .join(" · ");
  }

  async _open(id) {
    let told;
    try {
      told = await ask(`notifications/${id}`);
    } catch (problem) {
      say(inWords(problem), { bad: true });
      return;
    }
    const study = this._known.get(told.Study);
    const title = (study && personName(study.PatientMainDicomTags.PatientName)) || t("told.one", { id });
    const drawer = openDrawer(title, { wide: told.State === "held" });
    drawer.body.append(
      el(
        "p",
        { class: "lead" },
        badge(KIND[told.State], t(`state.one.${told.State}`)),
        el("span", {}, t(`told.means.${told.State}`)),
      ),
    );
    if (told.Reason) drawer.body.append(el("p", { class: "problem" }, told.Reason));
    if (told.LastError) {
      drawer.body.append(
        el("p", { class: "problem" }, told.LastError),
        told.State === "failed" ? el("p", {}, t("told.failed.do")) : "",
      );
    }
    if (told.State === "held") await this._compare(drawer, told);
    drawer.body.append(facts(told), this._links(told), decisions(told));
    if (told.State === "failed" || told.State === "pending") {
      drawer.body.append(
        el("div", { class: "actions sticky" }, this._retry(drawer, told), this._discard(drawer, told)),
      );
    }
  }

  /** The study beside a step, what differs, and the three things that a person may do. */
  async _compare(drawer, told) {
    if (!told.Comparison) {
      drawer.body.append(
        el("p", {}, t("held.gone")),
        el("div", { class: "actions sticky" }, this._discard(drawer, told)),
      );
      return;
    }
    const { Study: study, Steps: suggested } = told.Comparison;
    let steps = [];
    try {
      steps = await readSteps("open", this._status.Worklist.Revision);
    } catch (problem) {
      drawer.body.append(el("p", { class: "problem" }, inWords(problem)));
    }
    const byId = new Map(steps.map((step) => [step.ScheduledProcedureStepID, step]));
    const likely = suggested.filter((one) => byId.has(one.ScheduledProcedureStepID));
    let chosen = byId.get(likely[0]?.ScheduledProcedureStepID) ?? null;

    const table = el("div", { class: "beside" });
    const button = el("button", { type: "button", class: "button primary" });
    const draw = () => {
      fill(table, comparison(study, chosen));
      button.disabled = !chosen;
      button.textContent = chosen
        ? t("held.confirm", { id: chosen.ScheduledProcedureStepID })
        : t("held.choosefirst");
    };
    const options = el("div", { class: "options" });
    const id = newId();
    const search = el("input", { id, type: "search", autocomplete: "off", placeholder: t("worklist.search.hint") });
    const list = () => {
      const words = wordsOf(search.value);
      const first = new Map(likely.map((one) => [one.ScheduledProcedureStepID, one.Evidence]));
      const found = words.length
        ? steps.filter((step) => matches(haystack(step), words)).slice(0, MOST_STEPS)
        : [...first.keys()].map((one) => byId.get(one));
      if (chosen && !found.includes(chosen)) found.unshift(chosen);
      fill(
        options,
        found.map((step) => option(step, first.get(step.ScheduledProcedureStepID) ?? [])),
        found.length ? null : el("p", { class: "nothing" }, t(words.length ? "worklist.nothing" : "held.nosteps")),
      );
      for (const input of options.querySelectorAll("input")) input.checked = input.value === chosen?.ScheduledProcedureStepID;
    };
    options.addEventListener("change", (event) => {
      chosen = byId.get(event.target.value) ?? null;
      draw();
    });
    search.addEventListener("input", list);
    button.addEventListener("click", () => this._report(drawer, told, button, chosen));
    draw();
    list();
    drawer.body.append(
      table,
      el(
        "fieldset",
        {},
        el("legend", {}, t("held.choose")),
        el("div", { class: "field wide" }, el("label", { for: id }, t("held.search")), search),
        options,
      ),
      el(
        "div",
        { class: "actions sticky" },
        button,
        this._retry(drawer, told),
        this._discard(drawer, told),
      ),
    );
  }

  async _report(drawer, told, button, step) {
    const words = { id: step.ScheduledProcedureStepID, patient: personName(step.PatientName) };
    const sure = await confirm(t("held.sure", words), t("held.sure.explained", words), t("held.sure.yes"));
    if (!sure) return;
    const done = await act(button, () =>
      ask(`studies/${told.Study}/report`, {
        method: "POST",
        body: { ScheduledProcedureStepID: step.ScheduledProcedureStepID },
      }),
    );
    if (done) this._done(drawer, t("held.done", words));
  }

  _retry(drawer, told) {
    const held = told.State === "held";
    const button = el("button", { type: "button", class: held ? "button" : "button primary" }, t(held ? "held.again" : "told.retry"));
    button.addEventListener("click", async () => {
      if (!(await confirm(t(held ? "held.again.sure" : "told.retry.sure"), t(held ? "held.again.explained" : "told.retry.explained"), button.textContent))) return;
      const done = await act(button, () => ask(`notifications/${told.ID}/retry`, { method: "POST" }));
      if (done) this._done(drawer, t(held ? "held.again.done" : "told.retry.done"));
    });
    return button;
  }

  _discard(drawer, told) {
    const button = el("button", { type: "button", class: "button danger" }, t("told.discard"));
    button.addEventListener("click", async () => {
      if (!(await confirm(t("told.discard.sure"), t("told.discard.explained"), t("told.discard"), { danger: true }))) return;
      const done = await act(button, () => ask(`notifications/${told.ID}`, { method: "DELETE" }));
      if (done) this._done(drawer, t("told.discard.done"));
    });
    return button;
  }

  _done(drawer, words) {
    drawer.close();
    say(words);
    this._page.refresh();
  }

  /** Where the study is shown. */
  _links(told) {
    const place = el("p", { class: "links" });
    ask(`studies/${told.Study}`).then(
      (study) => add(place, viewers(study)),
      () => {}, // the study is gone; nothing leads to it
    );
    return this._known.get(told.Study) ? place : el("p");
  }
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

/** Links to the viewers of a study. */
export function viewers(study) {
  return Object.entries(study.Viewers)
    .filter(([name]) => name !== "DICOMweb")
    .map(([name, path]) =>
      el("a", { class: "button small", href: orthancAddress(path), target: "_blank", rel: "noopener" }, t("viewer", { name })),
    );
}

function facts(told) {
  const pairs = [
    ["told.id", String(told.ID)],
    ["told.step", told.ScheduledProcedureStepID || "–"],
    ["told.request", told.RequestedProcedureID || "–"],
    ["told.evidence", told.Evidence ? (told.Evidence === "person" ? t("told.person") : keyName(told.Evidence)) : "–"],
    ["told.created", moment(told.Created)],
    ["told.attempts", number(told.Attempts)],
    told.NextAttempt ? ["told.next", moment(told.NextAttempt)] : null,
    told.Delivered ? ["told.delivered", moment(told.Delivered)] : null,
    ["key.StudyInstanceUID", el("code", {}, told.StudyInstanceUID)],
  ];
  return el(
    "section",
    {},
    el("h3", {}, t("told.details")),
    el(
      "dl",
      { class: "values" },
      pairs.filter(Boolean).map(([key, value]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}, value))),
    ),
  );
}

function decisions(told) {
  if (!told.Decisions.length) return "";
  return el(
    "section",
    {},
    el("h3", {}, t("told.decisions")),
    el(
      "ul",
      { class: "plain-list" },
      told.Decisions.map((one) =>
        el("li", {}, t("told.decided", { at: moment(one.At), user: one.User || t("told.somebody"), action: t(`action.${one.Action}`) })),
      ),
    ),
  );
}

function option(step, evidence) {
  const id = newId();
  return el(
    "div",
    { class: "option" },
    el("input", { type: "radio", name: "step", id, value: step.ScheduledProcedureStepID, data: { focus: `step-${step.ScheduledProcedureStepID}` } }),
    el(
      "label",
      { for: id },
      el("span", {}, `${personName(step.PatientName)} · ${step.Modality} · ${step.ScheduledProcedureStepDescription}`),
      el(
        "span",
        { class: "second" },
        [
          t("step.one", { id: step.ScheduledProcedureStepID }),
          dicomDate(step.ScheduledProcedureStepStartDate),
          evidence.length ? t("held.because", { evidence: evidence.map(keyName).join(", ") }) : "",
        ]
          .filter(Boolean)
          .join(" · "),
      ),
    ),
  );
}

const COMPARED = [
  // of the study, of the step
  ["PatientName", "PatientName"],
  ["PatientID", "PatientID"],
  ["PatientBirthDate", "PatientBirthDate"],
  ["ModalitiesInStudy", "Modality"],
  ["PerformedProcedureStepStartDate", "ScheduledProcedureStepStartDate"],
  ["StudyDescription", "ScheduledProcedureStepDescription"],
  ["AccessionNumber", "AccessionNumber"],
  ["ScheduledProcedureStepIDs", "ScheduledProcedureStepID"],
  ["StudyInstanceUID", "StudyInstanceUID"],
];

const FREE = ["ScheduledProcedureStepDescription"]; // never the same words, which means nothing

function comparison(study, step) {
  return el(
    "table",
    { class: "compare" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, t("compare.key")),
        el("th", { scope: "col" }, t("compare.study", { n: study.Instances })),
        el("th", { scope: "col" }, step ? t("compare.step", { id: step.ScheduledProcedureStepID }) : t("compare.nostep")),
      ),
    ),
    el(
      "tbody",
      {},
      COMPARED.map(([ofStudy, ofStep]) => {
        const images = [study[ofStudy]].flat();
        const order = step ? step[ofStep] : "";
        const differs = step && !FREE.includes(ofStep) && differ(ofStep, images, order);
        const several = images.filter(Boolean);
        return el(
          "tr",
          { class: differs ? "differs" : null },
          el("th", { scope: "row" }, keyName(ofStep), differs ? el("span", { class: "differs-mark" }, t("compare.differs")) : null),
          el("td", {}, several.length ? several.map((one, at) => [at ? ", " : "", shown(ofStep, one)]) : shown(ofStep, "")),
          el("td", {}, step ? shown(ofStep, order) : "–"),
        );
      }),
    ),
  );
}

/** Whether what images say of a key is something else than what the step has. */
export function differ(keyword, images, order) {
  const said = images.map((one) => plain(keyword, one)).filter(Boolean);
  const wanted = plain(keyword, order);
  return said.length ? !said.includes(wanted) : false;
}

/** A value to compare: without case; of a name its letters only, in whichever order of its parts. */
function plain(keyword, text) {
  const letters = folded(text).trim();
  if (keyword !== "PatientName") return letters;
  return letters.split(/[^\p{L}\p{N}]+/u).filter(Boolean).sort().join(" ");
}
