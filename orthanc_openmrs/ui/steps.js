// The steps of the list: read once for every list, and how one is shown.
import { address, ask, askAll, inWords, orthancAddress } from "./api.js";
import { el, fill, icon, newId } from "./dom.js";
import { openDrawer } from "./drawer.js";
import { dicomDate, dicomTime, has, moment, personName, t } from "./texts.js";

const kept = new Map(); // what was asked → {revision, steps}

/** The steps that wait for images (`open`), or all, of the list with a revision. */
export async function readSteps(which, revision) {
  const before = kept.get(which);
  if (before?.revision === revision) return before.steps;
  const steps = revision ? await askAll("worklist", which === "open" ? { open: "true" } : {}) : [];
  kept.set(which, { revision, steps });
  return steps;
}

/** A text without case and accents. */
export function folded(text) {
  return text.normalize("NFD").replace(/\p{Diacritic}/gu, "").toLowerCase();
}

const GROUPS = [
  ["group.patient", ["PatientName", "PatientID", "PatientBirthDate", "PatientSex"]],
  [
    "group.step",
    [
      "ScheduledProcedureStepID",
      "ScheduledProcedureStepStartDate",
      "ScheduledProcedureStepStartTime",
      "Modality",
      "ScheduledStationAETitle",
      "ScheduledProcedureStepDescription",
      "ScheduledPerformingPhysicianName",
      "ScheduledStationName",
      "ScheduledProcedureStepLocation",
      "ScheduledProcedureStepStatus",
      "Source",
    ],
  ],
  [
    "group.request",
    [
      "RequestedProcedureID",
      "AccessionNumber",
      "RequestedProcedureDescription",
      "RequestedProcedurePriority",
      "RequestingPhysician",
      "StudyInstanceUID",
    ],
  ],
];

/** The name of a DICOM key in the person's language. */
export function keyName(keyword) {
  return has(`key.${keyword}`) ? t(`key.${keyword}`) : keyword;
}

/** A value of a key, to be read. */
export function shown(keyword, text) {
  if (!text) return el("span", { class: "empty" }, t("empty"));
  if (keyword === "Source") return t(`source.${text}`);
  if (keyword.endsWith("Date")) return dicomDate(text);
  if (keyword.endsWith("Time")) return dicomTime(text);
  if (/(UID|ID|Number)$/.test(keyword)) return el("code", {}, text);
  if (keyword === "PatientName" || keyword.endsWith("Physician") || keyword.endsWith("PhysicianName")) {
    return personName(text);
  }
  return text;
}

/** Whether a step is offered, in a badge. */
export function offered(step) {
  if (!step.Offered) {
    const open = step.Status !== "completed" && step.Status !== "rejected";
    return [
      badge(step.Status === "completed" ? "done" : "bad", state(step)),
      open && step.Reason ? el("span", { class: "second why", title: step.Reason }, step.Reason) : null,
    ];
  }
  return [
    badge("good", t("step.offered")),
    step.Warnings.length
      ? el("span", { class: "second" }, t("step.warnings", { n: step.Warnings.length }))
      : null,
  ];
}

function state(step) {
  if (step.Status === "completed") return t("step.completed");
  if (step.Status === "rejected") return t("step.rejected");
  return t("step.left-out");
}

/** A word with a colour; the word says all. */
export function badge(kind, words) {
  return el("span", { class: `badge ${kind}` }, words);
}

/** Links to the viewers of a study. */
export function viewers(study) {
  return Object.entries(study.Viewers)
    .filter(([name]) => name !== "DICOMweb")
    .map(([name, path]) =>
      el("a", { class: "button small", href: orthancAddress(path), target: "_blank", rel: "noopener" }, t("viewer", { name })),
    );
}

/** Opens a step; `station` is the one that it is explained for, `own` whether that asks for its
 * own AE title. */
export function openStep(page, step, station, own) {
  const onClose = page.opened("step", step.ScheduledProcedureStepID);
  const { body } = openDrawer(personName(step.PatientName) || t("step.one", { id: step.ScheduledProcedureStepID }), { onClose });
  const why = el("div", { class: "explanation", "aria-live": "polite" });
  const [id, asks] = [newId(), newId()];
  const box = el("input", { id: asks, type: "checkbox", checked: own });
  const input = el("input", {
    id,
    type: "text",
    list: "stations",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 16,
    value: station || step.ScheduledStationAETitle,
  });
  const explain = async () => {
    const aet = input.value.trim();
    if (!aet) return fill(why);
    try {
      const found = await ask(`worklist/${encodeURIComponent(step.ScheduledProcedureStepID)}`, {
        query: { aet, ...(box.checked ? { ScheduledStationAETitle: aet } : {}) },
      });
      fill(why, explanation(found.Explanation, aet));
    } catch (problem) {
      fill(why, el("p", { class: "problem" }, inWords(problem)));
    }
    return undefined;
  };
  input.addEventListener("change", explain);
  box.addEventListener("change", explain);
  body.append(
    el(
      "p",
      { class: "lead" },
      offered(step),
      el("span", {}, [step.Modality, step.ScheduledProcedureStepDescription].filter(Boolean).join(" · ")),
    ),
    step.Offered ? "" : el("p", { class: "problem" }, t("step.reason", { reason: step.Reason })),
    step.Warnings.length
      ? el(
          "section",
          { class: "warnings" },
          el("h3", {}, t("step.adjusted")),
          el("ul", {}, step.Warnings.map((warning) => el("li", {}, warning))),
        )
      : "",
    ...GROUPS.map(([title, keywords]) =>
      el(
        "section",
        {},
        el("h3", {}, t(title)),
        el(
          "dl",
          { class: "values" },
          keywords.map((keyword) =>
            el("div", {}, el("dt", { title: keyword }, keyName(keyword)), el("dd", {}, shown(keyword, step[keyword]))),
          ),
        ),
      ),
    ),
    history(step),
    el(
      "section",
      {},
      el("h3", {}, t("step.why")),
      el("div", { class: "field" }, el("label", { for: id }, t("station")), input),
      el("div", { class: "asks" }, box, el("label", { for: asks }, t("worklist.own"))),
      why,
    ),
    el(
      "p",
      { class: "actions" },
      el(
        "a",
        {
          class: "button",
          href: address(`worklist/${encodeURIComponent(step.ScheduledProcedureStepID)}/file`),
          download: "",
        },
        t("step.file"),
      ),
    ),
  );
  explain();
}

/** A rule as it turned out, in a sentence of its own. */
function ruleWords(rule, station) {
  const way = rule.Passes ? "passes" : "fails";
  const values = { key: keyName(rule.Rule), station, asks: readable(rule.Asks), has: readable(rule.Has) || t("empty"), reason: rule.Reason };
  if (rule.Rule === "DateWindow") {
    const [from, to] = rule.Asks.split("-").map((day) => dicomDate(day));
    const ends = from && to ? "both" : from ? "from" : "to";
    return t(`rule.days.${ends}.${way}`, { ...values, from, to });
  }
  if (rule.Rule === "Worklist" || rule.Rule === "Step") return t(`rule.${rule.Rule}.${way}`, values);
  return t(rule.Asks === "anything" ? `rule.any.${way}` : `rule.${way}`, values);
}

/** A value or a range of DICOM's, its dates with their months in letters. */
function readable(text) {
  return text.replace(/\d{8}(?!\d)/g, (day) => dicomDate(day));
}

/** What became of a step: its studies and notifications, with links to them. */
function history(step) {
  const place = el("section", {}, el("h3", {}, t("step.history")), el("p", { class: "second" }, t("step.history.none")));
  const query = { step: step.ScheduledProcedureStepID, newest: "true", limit: 20 };
  ask("notifications", { query }).then(
    (told) => {
      if (!told.length) return;
      place.lastChild.replaceWith(
        el(
          "ul",
          { class: "plain-list" },
          told.map((one) =>
            el(
              "li",
              {},
              `${moment(one.Delivered ?? one.Created)}: `,
              el("a", { href: `#notifications?state=all&id=${one.ID}` }, t("step.history.told", { state: t(`state.one.${one.State}`) })),
              " · ",
              el("a", { href: `#studies?study=${one.Study}` }, t("step.history.study")),
              one.Reason || one.LastError ? el("span", { class: "second" }, ` ${one.Reason || one.LastError}`) : null,
            ),
          ),
        ),
      );
    },
    () => {}, // the database doesn't answer: the rest of the step is shown all the same
  );
  return place;
}

function explanation(rules, aet) {
  const gets = rules.every((rule) => rule.Passes);
  return [
    el(
      "p",
      { class: gets ? "mark good" : "mark bad" },
      icon(gets ? "good" : "bad"),
      el("strong", {}, t(gets ? "step.gets" : "step.getsnot", { station: aet })),
    ),
    el(
      "ul",
      { class: "rules" },
      rules.map((rule) =>
        el(
          "li",
          { class: rule.Passes ? "good" : "bad" },
          icon(rule.Passes ? "good" : "bad"),
          el(
            "div",
            {},
            el("span", {}, ruleWords(rule, aet)),
          ),
        ),
      ),
    ),
  ];
}
