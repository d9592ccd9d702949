// Notifications: what OpenMRS is told, and what a person must decide.
import { ask, askOrthanc, askPage, inWords } from "./api.js";
import { el, field, fill, newId } from "./dom.js";
import { act, confirm, say } from "./drawer.js";
import { KIND, openNotification } from "./notification.js";
import { asAsked } from "./search.js";
import { badge } from "./steps.js";
import { dicomDate, moment, number, personName, t } from "./texts.js";

const STATES = ["held", "failed", "pending", "delivered", "discarded"];
const PAGE = 50;
const WAIT = 300; // ms after the last letter, before the plugin is asked
const READING = 120; // pixels from the top on which a person is reading: nothing moves then

export class Notifications {
  constructor(page, parameters) {
    this._page = page;
    this._known = new Map(); // study → what Orthanc says of it, null where it is gone
    this._found = [];
    this._limit = PAGE;
    this._turn = 0;
    this._busy = false;
    this._choice = el("div", { class: "choice", role: "group", "aria-label": t("told.states") });
    const search = newId();
    this._search = el("input", {
      id: search,
      type: "search",
      autocomplete: "off",
      maxlength: 128,
      placeholder: t("told.search.hint"),
      oninput: () => this._typed(),
    });
    this._all = el(
      "button",
      { type: "button", class: "button", hidden: true, onclick: () => this._resendAll() },
      t("told.retry.all"),
    );
    this._news = el(
      "button",
      { type: "button", class: "button small news", hidden: true, onclick: () => this._draw() },
      t("told.news"),
    );
    this._count = el("p", { class: "counted", role: "status" });
    this._problem = el("div", { class: "problem", role: "alert" });
    this._list = el("ul", { class: "told" });
    this._older = el(
      "button",
      { type: "button", class: "button", hidden: true, onclick: () => this._more() },
      t("told.older"),
    );
    this.node = el(
      "div",
      {},
      el("div", { class: "tools", role: "search", "aria-label": t("told.tools") }, field(search, t("told.search"), this._search, "wide")),
      this._choice,
      this._problem,
      el("div", { class: "beside-count" }, this._count, this._all),
      this._news,
      this._list,
      this._older,
    );
    this.follow(parameters);
  }

  enter() {}

  leave() {
    this._turn += 1;
    clearTimeout(this._later);
  }

  follow(parameters) {
    const state = parameters.get("state");
    this._state = STATES.includes(state) ? state : state === "all" ? "" : null;
    this._search.value = parameters.get("search") ?? "";
    this._limit = PAGE;
    this._drawn = null;
    this._busy = false;
    if (/^\d+$/.test(parameters.get("id") ?? "")) openNotification(this._page, parameters.get("id"), undefined);
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
            href: `#notifications?${new URLSearchParams({ state: state || "all", ...(this._search.value.trim() ? { search: this._search.value.trim() } : {}) })}`,
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

  _typed() {
    clearTimeout(this._later);
    this._later = setTimeout(() => {
      this._page.remember("notifications", { state: this._state || "all", search: this._search.value.trim() });
      this._limit = PAGE;
      this._drawn = null;
      if (this._status) this.update(this._status);
      this._read();
    }, WAIT);
  }

  _more() {
    this._limit = Math.min(1000, this._limit + PAGE);
    this._drawn = null;
    this._read();
  }

  async _read() {
    const turn = (this._turn += 1);
    this._busy = true;
    try {
      const query = { newest: "true", limit: this._limit };
      const typed = this._search.value.trim();
      if (this._state) query.state = this._state;
      if (typed) query.search = asAsked(typed);
      const { items, total } = await askPage("notifications", query);
      if (turn !== this._turn) return;
      this._total = total;
      this._found = items;
      fill(this._problem);
      await this._learn();
      if (turn === this._turn) this._show();
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

  /** Draws what was read, but not under the eyes of a person who reads further down. */
  _show() {
    const order = this._found.map((one) => one.ID).join();
    if (this._drawn !== null && this._drawn !== order && scrollY > READING) this._news.hidden = false;
    else this._draw();
  }

  _draw() {
    this._drawn = this._found.map((one) => one.ID).join();
    this._news.hidden = true;
    this._older.hidden = this._found.length >= this._total || this._limit >= 1000;
    this._all.hidden = this._state !== "failed" || !this._found.length;
    const typed = this._search.value.trim();
    fill(
      this._count,
      this._found.length
        ? this._found.length < this._total
          ? t("told.part", { n: this._found.length, of: number(this._total) })
          : t("told.count", { n: this._total })
        : t(typed ? "told.none.found" : this._state ? `told.none.${this._state}` : "told.none"),
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

  /** Sends every failed one again that is shown, one after the other. */
  async _resendAll() {
    const ids = this._found.map((one) => one.ID);
    if (!(await confirm(t("told.retry.all.sure", { n: ids.length }), t("told.retry.explained"), t("told.retry.all")))) return;
    let sent = 0;
    await act(this._all, async () => {
      for (const id of ids) {
        try {
          await ask(`notifications/${id}/retry`, { method: "POST" });
          sent += 1;
        } catch (problem) {
          if (problem.status !== 409) throw problem; // another person was faster
        }
      }
    });
    say(t("told.retry.all.done", { n: sent }));
    this._page.refresh();
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
