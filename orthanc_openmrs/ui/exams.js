// Exams as scanners report them (MPPS), beside the steps that they are of.
import { ask } from "./api.js";
import { el } from "./dom.js";
import { dicomTime, t } from "./texts.js";

const NEWEST = 500; // exams that are asked for
const PAUSE = 5_000; // ms between two looks

let byStep = new Map(); // ScheduledProcedureStepID → its newest exam
let told = "";

/** Looks at the exams now and then, and calls `show` where there is news; what it gives ends that. */
export function watchExams(show) {
  const look = async () => {
    if (await readExams()) show();
  };
  look();
  const timer = setInterval(look, PAUSE);
  return () => clearInterval(timer);
}

/** The steps, each with what is known of its exam: a row whose step is another is drawn again. */
export function anew(steps) {
  return steps.map((step) => ({ ...step, exam: byStep.get(step.ScheduledProcedureStepID) }));
}

/** Asks for the exams; whether there is news of one. */
async function readExams() {
  let found;
  try {
    found = await ask("procedures", { query: { limit: NEWEST } });
  } catch {
    return false; // the list says what is wrong
  }
  const words = JSON.stringify(found);
  if (words === told) return false;
  told = words;
  byStep = new Map();
  for (const exam of found) {
    for (const step of exam.Steps) {
      const id = step.ScheduledProcedureStepID;
      if (id && !byStep.has(id)) byStep.set(id, exam);
    }
  }
  return true;
}

/** What is known of a step's exam, in a line of its own; null where nobody began it. */
export function examLine(step) {
  const exam = byStep.get(step.ScheduledProcedureStepID);
  return exam ? el("span", { class: "second" }, words(exam)) : null;
}

function words(exam) {
  const at = dicomTime((exam.State === "IN PROGRESS" ? exam.Start : exam.End || exam.Start).slice(8));
  if (exam.State === "DISCONTINUED") return t("exam.broken", { at, reason: exam.Reason });
  if (exam.State === "IN PROGRESS") return t("exam.started", { at });
  if (exam.Images === "not listed") return t("exam.ended", { at });
  return t(exam.Images === "missing" ? "exam.missing" : "exam.images", { at, come: exam.Come, of: exam.Expected });
}
