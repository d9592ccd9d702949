// A study beside the step that it may complete, and what differs.
import { el } from "./dom.js";
import { folded, keyName, shown } from "./steps.js";
import { t } from "./texts.js";

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

/** The table; `step` may be null. */
export function comparison(study, step) {
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
