// Patients, as the list and a person's words name them.
import { ask } from "./api.js";
import { el } from "./dom.js";
import { dicomDate, personName, t } from "./texts.js";

const MOST_PATIENTS = 8;
const MOST_STEPS = 200; // of which these patients are

/** What looks like the uuid of a patient. */
export const UUID = /^[0-9A-Za-z-]{36,38}$/;

/** Of whom only the uuid is known. */
export function stranger(id) {
  return { id, name: "", born: "", sex: "" };
}

/** The patients of steps: {id, name, born, sex}. */
export function patientsOf(steps) {
  const found = new Map();
  for (const step of steps) {
    if (!step.PatientID || found.has(step.PatientID)) continue;
    found.set(step.PatientID, {
      id: step.PatientID,
      name: step.PatientName,
      born: step.PatientBirthDate,
      sex: step.PatientSex,
    });
  }
  return [...found.values()];
}

/** Patients of the list that the words fit, and the one whose uuid was given; `listed`: whether
 * there is a list. */
export async function patientsLike(typed, listed) {
  if (!typed) return [];
  const steps = listed ? await ask("worklist", { query: { search: typed, limit: MOST_STEPS } }) : [];
  const found = patientsOf(steps).slice(0, MOST_PATIENTS);
  if (UUID.test(typed) && !found.some((one) => one.id === typed)) found.unshift(stranger(typed));
  return found;
}

/** What the list says of a patient. */
export async function patientKnown(id, listed) {
  const steps = listed ? await ask("worklist", { query: { PatientID: id, limit: 1 } }) : [];
  return patientsOf(steps)[0] ?? stranger(id);
}

/** A patient to be told from others. */
export function patientLines(one) {
  return [
    el("strong", {}, personName(one.name) || t("studies.nameless")),
    el("span", { class: "second" }, [dicomDate(one.born), one.sex].filter(Boolean).join(" · ")),
    el("code", {}, one.id),
  ];
}
