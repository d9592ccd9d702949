// What an OpenMRS frontend would write with the types made from our OpenAPI.
import type { operations, paths } from "./made";

type Answer<Name extends keyof operations> = operations[Name] extends {
  responses: { 200: { content: { "application/json": infer Body } } };
}
  ? Body
  : never;

const assign: keyof paths = "/openmrs/patients/{uuid}/studies/{study}";

export function names(studies: Answer<"getPatientStudies">): string[] {
  return studies.map((study) => study.PatientName);
}

export function against(candidates: Answer<"getPatientCandidates">): string[] {
  return candidates.flatMap((one) => one.Findings.filter((found) => found.Points < 0).map((found) => found.Code));
}

export function why(step: Answer<"getWorklistStep">): string[] {
  return (step.Explanation ?? []).filter((rule) => !rule.Passes).map((rule) => rule.Rule);
}

export async function follow(cursor: string): Promise<Answer<"getEvents">> {
  const response = await fetch(`/openmrs/events?since=${cursor}&wait=25`);
  return response.json();
}

export async function give(uuid: string, study: string): Promise<Answer<"assignStudy">> {
  const path = assign.replace("{uuid}", uuid).replace("{study}", study);
  return (await fetch(path, { method: "PUT" })).json();
}
