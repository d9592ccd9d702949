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

/** The study beside a step, which may be null. */
export function comparison(study, step) {
  return beside(
    t("compare.study", { n: study.Instances }),
    step ? t("compare.step", { id: step.ScheduledProcedureStepID }) : t("compare.nostep"),
    COMPARED.map(([ofStudy, ofStep]) => {
      const images = [study[ofStudy]].flat();
      const order = step ? step[ofStep] : "";
      const several = images.filter(Boolean);
      return {
        name: keyName(ofStep),
        here: several.length ? several.map((one, at) => [at ? ", " : "", shown(ofStep, one)]) : shown(ofStep, ""),
        there: step ? shown(ofStep, order) : "–",
        differs: step && !FREE.includes(ofStep) && differ(ofStep, images, order),
      };
    }),
  );
}

/** Two things beside each other; `rows`: {name, here, there, differs} each. */
export function beside(here, there, rows) {
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
        el("th", { scope: "col" }, here),
        el("th", { scope: "col" }, there),
      ),
    ),
    el(
      "tbody",
      {},
      rows.map((row) =>
        el(
          "tr",
          { class: row.differs ? "differs" : null },
          el("th", { scope: "row" }, row.name, row.differs ? el("span", { class: "differs-mark" }, t("compare.differs")) : null),
          el("td", {}, row.here),
          el("td", {}, row.there),
        ),
      ),
    ),
  );
}

/** Whether what images say of a key is something else than what the step has. */
function differ(keyword, images, order) {
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
