// Worklist: what the scanners see.
import { askAll, inWords } from "./api.js";
import { el, field, fill, newId } from "./dom.js";
import { anew, watchExams } from "./exams.js";
import { Rows } from "./rows.js";
import { asAsked } from "./search.js";
import { cells, first, SORT, when } from "./steprow.js";
import { folded, openStep, readSteps } from "./steps.js";
import { t } from "./texts.js";

const LONG = 2_000; // steps of a list that isn't read again at once
const PAUSE = 20_000; // ms until then
const WAIT = 250; // ms after the last letter, before the plugin is asked
const SHOWN = ["seen", "skipped", "open", "all"];
const DAYS = ["any", "today", "overdue", "coming"];

export class Worklist {
  constructor(page, parameters) {
    this._page = page;
    this._steps = [];
    this._found = null; // the steps that the words find, null for all
    this._revision = null;
    this._readAt = 0;
    this._reading = 0;
    this._station = "";
    this._busy = false;
    const [search, station, modality, show, days, own] = [newId(), newId(), newId(), newId(), newId(), newId()];
    this._search = el("input", {
      id: search,
      type: "search",
      autocomplete: "off",
      placeholder: t("worklist.search.hint"),
      oninput: () => this._typed(),
    });
    this._title = el("input", {
      id: station,
      type: "text",
      list: "stations",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 16,
      placeholder: t("station.any"),
      onchange: () => this._choose(this._title.value.trim()),
    });
    this._stations = el("datalist", { id: "stations" });
    this._modality = el("select", { id: modality, onchange: () => this._chosen() });
    this._days = el(
      "select",
      { id: days, onchange: () => this._chosen() },
      DAYS.map((one) => el("option", { value: one }, t(`when.${one}`))),
    );
    this._show = el(
      "select",
      {
        id: show,
        onchange: () => {
          this._remember();
          this._read();
        },
      },
      SHOWN.map((one) => el("option", { value: one }, t(`show.${one}`))),
    );
    this._count = el("p", { class: "counted", role: "status" });
    this._own = el("input", { id: own, type: "checkbox", checked: true, onchange: () => this._read() });
    this._asks = el(
      "div",
      { class: "asks" },
      this._own,
      el("label", { for: own }, t("worklist.own")),
    );
    this._problem = el("div", { class: "problem", role: "alert" });
    this._empty = el("p", { class: "nothing" });
    this._rows = new Rows({
      caption: t("part.worklist"),
      key: (step) => step.ScheduledProcedureStepID,
      open: (step) => this._open(step),
      columns: [
        { key: "when", label: t("column.when"), sort: true },
        { key: "patient", label: t("column.patient"), sort: true },
        { key: "modality", label: t("column.modality"), sort: true },
        { key: "station", label: t("column.station"), sort: true },
        { key: "what", label: t("column.what"), sort: true },
        { key: "state", label: t("column.state"), sort: true },
      ],
      cells,
    });
    this._rows.onSort = () => this._filter();
    this.node = el(
      "div",
      { class: "worklist" },
      el(
        "div",
        { class: "tools", role: "search", "aria-label": t("worklist.tools") },
        field(search, t("search"), this._search, "wide"),
        field(station, t("worklist.as"), this._title),
        field(days, t("worklist.days"), this._days),
        field(modality, t("column.modality"), this._modality),
        field(show, t("show"), this._show),
      ),
      this._stations,
      this._problem,
      this._asks,
      this._count,
      this._rows.node,
      this._empty,
    );
    this.follow(parameters);
  }

  enter() {
    const show = () => (this._steps = anew(this._steps)).length && this._filter();
    this._leaveExams = watchExams(show);
    this._rows.follow();
    this._rows.draw();
  }

  leave() {
    this._leaveExams?.();
    this._reading += 1;
    this._asked = (this._asked ?? 0) + 1;
    clearTimeout(this._later);
    this._rows.leave();
  }

  follow(parameters) {
    const show = parameters.get("show");
    this._show.value = SHOWN.includes(show) ? show : "seen";
    this._title.value = this._station = parameters.get("aet") ?? "";
    this._search.value = parameters.get("search") ?? "";
    this._days.value = DAYS.includes(parameters.get("days")) ? parameters.get("days") : "any";
    this._wantedModality = parameters.get("modality") ?? "";
    this._wantedStep = parameters.get("step");
    this._revision = null;
    if (this._status) this._read();
  }

  update(status) {
    this._status = status;
    if (status.Worklist.Revision === this._revision && status.Worklist.Stale === this._stale) return;
    if (this._busy) return;
    if (this._revision && this._steps.length > LONG && Date.now() - this._readAt < PAUSE) return;
    this._read();
  }

  /** Puts what is looked at into the address. */
  _remember() {
    this._page.remember("worklist", {
      show: this._show.value === "seen" ? "" : this._show.value,
      aet: this._station,
      search: this._search.value.trim(),
      days: this._days.value === "any" ? "" : this._days.value,
      modality: this._modality.value,
    });
  }

  _chosen() {
    this._remember();
    this._filter();
  }

  _open(step) {
    openStep(this._page, step, this._station, this._own.checked);
  }

  _typed() {
    clearTimeout(this._later);
    this._later = setTimeout(() => {
      this._remember();
      this._ask();
    }, WAIT);
  }

  /** Asks the plugin which steps the words find, and shows these. */
  async _ask() {
    const typed = this._search.value.trim();
    const turn = (this._asked = (this._asked ?? 0) + 1);
    try {
      const found = typed ? await askAll("worklist", { search: asAsked(typed) }) : null;
      if (turn !== this._asked) return;
      this._found = found && new Set(found.map((step) => step.ScheduledProcedureStepID));
      this._filter();
    } catch (problem) {
      if (turn === this._asked && problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    }
  }

  _choose(title) {
    if (title === this._station) return;
    this._station = title;
    if (title && !["seen", "all", "open"].includes(this._show.value)) this._show.value = "seen";
    this._remember();
    this._read();
  }

  async _read() {
    if (!this._status) return;
    const turn = (this._reading += 1);
    const { Revision: revision, Stale: stale, Stations: known } = this._status.Worklist;
    const which = this._show.value;
    const station = which === "seen" ? this._station : "";
    this._asks.hidden = !station;
    this._busy = true;
    this.node.setAttribute("aria-busy", "true");
    try {
      let steps;
      if (stale && (which === "seen" || !revision)) {
        fill(this._problem, el("p", {}, t(revision ? "worklist.stale" : "worklist.none")));
        steps = [];
      } else {
        fill(this._problem);
        if (station) steps = await askAll("worklist", { aet: station, own: String(this._own.checked) });
        else steps = await readSteps(which === "all" ? "all" : "open", revision);
      }
      if (turn !== this._reading) return;
      this._steps = which === "seen" ? steps.filter((step) => step.Offered)
        : which === "skipped" ? steps.filter((step) => !step.Offered)
        : steps;
      this._revision = revision;
      this._stale = stale;
      this._readAt = Date.now();
      await this._offer(known, steps);
      if (turn !== this._reading) return;
      if (this._search.value.trim()) await this._ask();
      else this._filter();
      const wanted = this._steps.find((step) => step.ScheduledProcedureStepID === this._wantedStep);
      this._wantedStep = null;
      if (wanted) this._open(wanted);
    } catch (problem) {
      if (turn === this._reading && problem.status !== 0) fill(this._problem, el("p", {}, inWords(problem)));
    } finally {
      if (turn === this._reading) {
        this._busy = false;
        this.node.removeAttribute("aria-busy");
      }
    }
  }

  /** The stations and modalities that can be chosen; what is chosen stays. */
  async _offer(known, steps) {
    const all = this._station ? await readSteps("open", this._revision) : steps;
    const titles = new Set([...known, ...all.map((step) => step.ScheduledStationAETitle)]);
    titles.delete("");
    fill(this._stations, [...titles].sort().map((title) => el("option", { value: title })));
    const modalities = new Set(steps.map((step) => step.Modality));
    const chosen = this._modality.value || this._wantedModality;
    this._wantedModality = "";
    if (chosen) modalities.add(chosen);
    modalities.delete("");
    fill(
      this._modality,
      el("option", { value: "" }, t("all")),
      [...modalities].sort().map((one) => el("option", { value: one }, one)),
    );
    this._modality.value = chosen;
  }

  _filter() {
    const modality = this._modality.value;
    const days = this._days.value;
    const found = this._steps.filter(
      (step) =>
        (!modality || step.Modality === modality) &&
        (days === "any" || when(step) === days) &&
        (!this._found || this._found.has(step.ScheduledProcedureStepID)),
    );
    const { column, descending } = this._rows.order;
    {
      const by = SORT[column] ?? first;
      const keyed = found.map((step) => [by(step), step]);
      keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      if (descending) keyed.reverse();
      found.splice(0, found.length, ...keyed.map(([, step]) => step));
    }
    this._rows.show(found);
    fill(
      this._count,
      found.length === this._steps.length
        ? t("worklist.count", { n: found.length })
        : t("worklist.counted", { n: found.length, of: this._steps.length }),
      this._station && this._show.value === "seen" ? ` ${t(this._own.checked ? "worklist.asks.own" : "worklist.asks.all", { station: this._station })}` : "",
    );
    fill(this._empty, found.length || this._problem.firstChild ? "" : this._why());
    this._rows.node.hidden = !found.length;
    if (found.length) this._rows.draw();
  }

  /** Why there is nothing: a station that no step names has a cause of its own. */
  _why() {
    const titles = [...this._stations.children].map((one) => one.value);
    const unknown = this._station && this._show.value === "seen" && !titles.includes(this._station);
    if (!unknown) return t("worklist.nothing");
    const like = titles.find((one) => folded(one).replace(/\W/g, "") === folded(this._station).replace(/\W/g, ""));
    return [
      t("station.unknown", { station: this._station }),
      " ",
      like ? t("station.meant", { station: like }) : titles.length ? t("station.known", { stations: titles.join(", ") }) : "",
    ].join("");
  }
}
