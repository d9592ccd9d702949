// A step as a row of the worklist, and in which order rows come.
import { el } from "./dom.js";
import { examLine } from "./exams.js";
import { opener } from "./rows.js";
import { badge, folded, offered } from "./steps.js";
import { dicomDate, dicomTime, personName, t, today } from "./texts.js";

/** Whether a step is today's, was to be done before, or comes. */
export function when(step) {
  const [day, now] = [step.ScheduledProcedureStepStartDate, today()];
  return day === now ? "today" : day < now ? "overdue" : "coming";
}

/** Today first, then what is overdue, the newest first, then what comes. */
export function first(step) {
  const at = step.ScheduledProcedureStepStartDate + step.ScheduledProcedureStepStartTime;
  const back = at.replace(/\d/g, (digit) => 9 - digit);
  return { today: `0${at}`, overdue: `1${back}`, coming: `2${at}` }[when(step)];
}

/** What a column sorts by. */
export const SORT = {
  when: (step) => step.ScheduledProcedureStepStartDate + step.ScheduledProcedureStepStartTime,
  patient: (step) => folded(personName(step.PatientName)),
  modality: (step) => step.Modality,
  station: (step) => step.ScheduledStationAETitle,
  what: (step) => folded(step.ScheduledProcedureStepDescription),
  state: (step) => `${step.Offered ? (step.Warnings.length ? 1 : 2) : 0}`,
};

/** The cells of a step. */
export function cells(step) {
  return [
    [
      el("span", {}, when(step) === "today" ? t("when.today") : dicomDate(step.ScheduledProcedureStepStartDate)),
      el("span", { class: "second" }, dicomTime(step.ScheduledProcedureStepStartTime)),
    ],
    [
      opener(personName(step.PatientName) || step.PatientID || t("empty")),
      el(
        "span",
        { class: "second" },
        [dicomDate(step.PatientBirthDate), step.PatientSex].filter(Boolean).join(" · "),
      ),
    ],
    el("span", { class: "tag" }, step.Modality || "–"),
    step.ScheduledStationAETitle || el("span", { class: "second" }, t("station.every")),
    [
      el("span", {}, step.ScheduledProcedureStepDescription),
      el(
        "span",
        { class: "second" },
        [step.AccessionNumber, step.Source === "orders" ? t("source.orders") : ""].filter(Boolean).join(" · "),
      ),
    ],
    state(step),
  ];
}

/** What isn't as usual with a step. */
function state(step) {
  const overdue = step.Offered && when(step) === "overdue" ? badge("wait", t("when.overdue")) : null;
  return [step.Offered && !step.Warnings.length ? null : offered(step), overdue, examLine(step)];
}
