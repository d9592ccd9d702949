// How a study fits a patient, before a person says that it is the patient's.
import { ask } from "./api.js";
import { beside } from "./compare.js";
import { el } from "./dom.js";
import { confirm } from "./drawer.js";
import { patientName } from "./patients.js";
import { keyName, shown } from "./steps.js";
import { dicomDate, dicomTime, personName, t } from "./texts.js";

const AGAINST = {
  // what is found → the row in which it differs
  "name-differs": "PatientName",
  "name-one-word": "PatientName",
  "birth-date-differs": "PatientBirthDate",
  "birth-date-turned": "PatientBirthDate",
  "birth-date-slip": "PatientBirthDate",
  "birth-year-same": "PatientBirthDate",
  "birth-year-near": "PatientBirthDate",
  "sex-differs": "PatientSex",
  "older-than-patient": "StudyDate",
};

/** Whether a person says that a study is a patient's, having seen how it fits. Raises ApiError. */
export async function sureOfPatient(study, patient) {
  const path = `patients/${encodeURIComponent(patient.id)}/studies/${study.ID}`;
  let fit = null;
  try {
    fit = await ask(path);
  } catch (problem) {
    if (problem.status !== 503) throw problem; // OpenMRS is away: the person compares
  }
  const known = fit?.Patient ?? { PatientName: patient.name, PatientBirthDate: patient.born, PatientSex: patient.sex, Identifiers: patient.numbers };
  const differs = new Set((fit?.Findings ?? []).map((one) => AGAINST[one.Code]).filter(Boolean));
  const moved = study.Patient && study.Patient !== patient.id;
  const warned = differs.size > 0 || moved || !fit;
  const words = { study: personName(study.PatientName) || study.PatientID || t("studies.nameless"), patient: patientName({ ...patient, name: known.PatientName }) };
  const content = el(
    "div",
    { class: "fit" },
    fit
      ? el("p", { class: "score" }, el("meter", { min: 0, max: 100, value: fit.Score, "aria-label": t("studies.score") }), t("studies.scored", { score: fit.Score }))
      : el("p", { class: "problem" }, t("fit.unknown")),
    differs.size ? el("p", { class: "problem" }, t("fit.warning", { what: [...differs].map(keyName).join(", ") })) : null,
    rows(study, known, differs),
    fit ? findings(fit.Findings) : null,
  );
  return confirm(
    t("studies.assign.sure", words),
    t(moved ? "studies.assign.moved" : "studies.assign.explained", words),
    t(warned ? "studies.assign.anyway" : "studies.assign"),
    { danger: warned, content, wide: true },
  );
}

function rows(study, known, differs) {
  const row = (keyword, there) => ({
    name: keyName(keyword),
    here: shown(keyword, study[keyword]),
    there,
    differs: differs.has(keyword),
  });
  return beside(t("compare.study", { n: study.Instances }), t("studies.patient"), [
    row("PatientName", shown("PatientName", known.PatientName)),
    row("PatientBirthDate", shown("PatientBirthDate", known.PatientBirthDate)),
    row("PatientSex", shown("PatientSex", known.PatientSex)),
    row("PatientID", el("code", {}, known.Identifiers.join(", ") || "–")),
    row("AccessionNumber", "–"),
    { ...row("StudyDate", "–"), here: [dicomDate(study.StudyDate), dicomTime(study.StudyTime)].filter(Boolean).join(" ") || "–" },
  ]);
}

/** What speaks for a study and against it, in the person's language. */
export function findings(found) {
  return el(
    "ul",
    { class: "reasons" },
    found.map((one) => el("li", { class: one.Points < 0 ? "against" : null }, t(`finding.${one.Code}`))),
  );
}
