// Patients, as OpenMRS and the list tell of them, and how one is told from others.
import { ask } from "./api.js";
import { el } from "./dom.js";
import { dicomDate, personName, t } from "./texts.js";

const MOST_PATIENTS = 8;
const SHORTEST = 2; // letters that OpenMRS searches for

/** What looks like the uuid of a patient. */
export const UUID = /^[0-9A-Za-z-]{36,38}$/;

/** Of whom only the uuid is known. */
export function stranger(id) {
  return { id, name: "", born: "", sex: "", numbers: [] };
}

/** A patient of the API as the page keeps it. */
function patientOf(told) {
  return {
    id: told.Patient,
    name: told.PatientName,
    born: told.PatientBirthDate,
    sex: told.PatientSex,
    numbers: told.Identifiers,
  };
}

/** Patients by name, identifier or uuid. */
export async function patientsLike(typed) {
  if (typed.length < SHORTEST) return [];
  const found = await ask("patients", { query: { search: typed.slice(0, 128), limit: MOST_PATIENTS } });
  return found.map(patientOf);
}

/** Who a patient is; a stranger where nobody says, null where OpenMRS has no such patient. */
export async function patientKnown(id) {
  try {
    return patientOf(await ask(`patients/${encodeURIComponent(id)}`));
  } catch (problem) {
    return problem.status === 404 ? null : stranger(id);
  }
}

/** What a patient is called, "" where that isn't known. */
export function patientName(one) {
  return personName(one?.name) || one?.id || "";
}

/** A patient to be told from others. */
export function patientLines(one) {
  return [
    el("strong", {}, personName(one.name) || t("studies.nameless")),
    el("span", { class: "second" }, [dicomDate(one.born), one.sex].filter(Boolean).join(" · ")),
    el("span", { class: "second" }, one.numbers.join(", ")),
    el("code", {}, one.id),
  ];
}
