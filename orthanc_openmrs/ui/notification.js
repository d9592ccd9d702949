// One notification: what is known of it, and the decisions that a person may take.
import { ask, askOrthanc, inWords } from "./api.js";
import { comparison } from "./compare.js";
import { add, el, fill, newId } from "./dom.js";
import { act, confirm, openDrawer, say } from "./drawer.js";
import { asAsked } from "./search.js";
import { badge, keyName, readSteps, viewers } from "./steps.js";
import { dicomDate, moment, number, personName, t } from "./texts.js";

/** The colour of each state. */
export const KIND = { held: "wait", failed: "bad", pending: "wait", delivered: "good", discarded: "done" };

const MOST_STEPS = 20; // of the steps that a person may choose from
const WAIT = 250; // ms after the last letter, before the plugin is asked

/** Opens a notification in a drawer; `study` is what Orthanc says of its study, null where it is
 * gone, undefined where it wasn't asked yet. */
export function openNotification(page, id, study) {
  return new Opened(page, study).open(id);
}

class Opened {
  constructor(page, study) {
    this._page = page;
    this._study = study;
  }

  async open(id) {
    let told;
    try {
      told = await ask(`notifications/${id}`);
    } catch (problem) {
      say(inWords(problem), { bad: true });
      return;
    }
    if (this._study === undefined) {
      this._study = await askOrthanc(`studies/${told.Study}`).catch(() => null);
    }
    const study = this._study;
    const title = (study && personName(study.PatientMainDicomTags.PatientName)) || t("told.one", { id });
    const onClose = this._page.opened("id", String(id));
    const drawer = openDrawer(title, { wide: told.State === "held", onClose });
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
        told.State === "failed" ? el("p", {}, await this._advice(told)) : "",
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

  /** What can be done about a failed one, by what the list says of its step. */
  async _advice(told) {
    const id = told.ScheduledProcedureStepID;
    try {
      const step = await ask(`worklist/${encodeURIComponent(id)}`);
      if (step.Status === "rejected" || step.Status === "completed") return t(`told.failed.${step.Status}`, { id });
    } catch (problem) {
      if (problem.status === 404) return t("told.failed.gone", { id });
    }
    return t("told.failed.do");
  }

  /** Does what a person decided; where another was faster, says who, when and what. */
  async _decide(button, told, work) {
    return act(button, async () => {
      try {
        return await work();
      } catch (problem) {
        const now = problem.status === 409 ? await ask(`notifications/${told.ID}`).catch(() => null) : null;
        const last = now?.Decisions.at(-1);
        if (!last || now.State === told.State) throw problem;
        throw new Error(t("told.faster", { at: moment(last.At), user: last.User || t("told.somebody"), action: t(`action.${last.Action}`), state: t(`state.one.${now.State}`) }));
      }
    });
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
      steps = await readSteps("open", this._page.status.Worklist.Revision);
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
    const list = (asked = null) => {
      const first = new Map(likely.map((one) => [one.ScheduledProcedureStepID, one.Evidence]));
      const found = asked ?? [...first.keys()].map((one) => byId.get(one));
      if (chosen && !found.includes(chosen)) found.unshift(chosen);
      fill(
        options,
        found.map((step) => option(step, first.get(step.ScheduledProcedureStepID) ?? [])),
        found.length ? null : el("p", { class: "nothing" }, t(asked ? "worklist.nothing" : "held.nosteps")),
      );
      for (const input of options.querySelectorAll("input")) input.checked = input.value === chosen?.ScheduledProcedureStepID;
    };
    options.addEventListener("change", (event) => {
      chosen = byId.get(event.target.value) ?? null;
      draw();
    });
    let turn = 0;
    const look = async () => {
      const mine = (turn += 1);
      const typed = search.value.trim();
      if (!typed) return list();
      const query = { search: asAsked(typed), open: "true", limit: MOST_STEPS };
      try {
        const found = await ask("worklist", { query });
        if (mine === turn) list(found.map((one) => byId.get(one.ScheduledProcedureStepID)).filter(Boolean));
      } catch (problem) {
        say(inWords(problem), { bad: true });
      }
      return undefined;
    };
    let later = 0;
    search.addEventListener("input", () => {
      clearTimeout(later);
      later = setTimeout(look, WAIT);
    });
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
    const done = await this._decide(button, told, () =>
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
      const done = await this._decide(button, told, () => ask(`notifications/${told.ID}/retry`, { method: "POST" }));
      if (done) this._done(drawer, t(held ? "held.again.done" : "told.retry.done"));
    });
    return button;
  }

  _discard(drawer, told) {
    const button = el("button", { type: "button", class: "button danger" }, t("told.discard"));
    button.addEventListener("click", async () => {
      if (!(await confirm(t("told.discard.sure"), t("told.discard.explained"), t("told.discard"), { danger: true }))) return;
      const done = await this._decide(button, told, () => ask(`notifications/${told.ID}`, { method: "DELETE" }));
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
    return this._study ? place : el("p");
  }
}

function facts(told) {
  const pairs = [
    ["told.id", String(told.ID)],
    ["told.step", told.ScheduledProcedureStepID ? el("a", { href: `#worklist?show=all&step=${encodeURIComponent(told.ScheduledProcedureStepID)}` }, told.ScheduledProcedureStepID) : "–"],
    ["told.study", el("a", { href: `#studies?study=${told.Study}` }, t("told.study.show"))],
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
