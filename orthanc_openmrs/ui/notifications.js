// Notifications: what OpenMRS is told, and what a person must decide.
import { ask, askOrthanc, inWords } from "./api.js";
import { el, fill } from "./dom.js";
import { KIND, openNotification } from "./notification.js";
import { badge } from "./steps.js";
import { dicomDate, moment, number, personName, t } from "./texts.js";

const STATES = ["held", "failed", "pending", "delivered", "discarded"];
const PAGE = 50;

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
        onclick: () => openNotification(this._page, told.ID, this._known.get(told.Study) ?? null),
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
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}
