// What opens over the page: a drawer with one thing in it, a question, and what was done.
import { el, icon, newId } from "./dom.js";
import { inWords } from "./api.js";
import { t } from "./texts.js";

/** Opens a drawer; `build` is given its body. Returns {body, close, onClose}. */
export function openDrawer(title, { wide = false, onClose = () => {} } = {}) {
  const id = newId();
  const body = el("div", { class: "drawer-body" });
  const dialog = el(
    "dialog",
    { class: wide ? "drawer wide" : "drawer", "aria-labelledby": id },
    el(
      "header",
      {},
      el("h2", { id, tabindex: "-1" }, title),
      el(
        "button",
        { type: "button", class: "plain", "aria-label": t("close"), onclick: () => dialog.close() },
        icon("close"),
      ),
    ),
    body,
    messages(),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("h2").focus();
  return { body, close: () => dialog.close(), isOpen: () => dialog.open };
}

/** Asks once; whether the person said yes. `content` is shown below the explanation, `wide` gives
 * it room. */
export function confirm(question, explanation, action, { danger = false, content = null, wide = false } = {}) {
  return new Promise((resolve) => {
    const [title, text] = [newId(), newId()];
    let yes = false;
    const dialog = el(
      "dialog",
      { class: wide ? "question wide" : "question", role: "alertdialog", "aria-labelledby": title, "aria-describedby": text },
      el("h2", { id: title }, question),
      el("p", { id: text }, explanation),
      content,
      el(
        "div",
        { class: "actions" },
        el(
          "button",
          { type: "button", class: "button", autofocus: danger, onclick: () => dialog.close() },
          t("cancel"),
        ),
        el(
          "button",
          {
            type: "button",
            class: danger ? "button danger" : "button primary",
            autofocus: !danger,
            onclick: () => {
              yes = true;
              dialog.close();
            },
          },
          action,
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(yes);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Where something is said; a screen reader reads it out. */
export function messages() {
  return el("div", { class: "messages", role: "status", "aria-live": "polite" });
}

/** Says what was done, or what went wrong, on what is uppermost. */
export function say(text, { bad = false, away = false } = {}) {
  const dialogs = document.querySelectorAll("dialog.drawer[open]");
  const within = dialogs[dialogs.length - 1] ?? document.body;
  const where = within.querySelector(":scope > .messages");
  const said = el(
    "div",
    { class: bad ? "message bad" : "message", data: away ? { away: "" } : {} },
    icon(bad ? "bad" : "good"),
    el("p", {}, text),
    el(
      "button",
      { type: "button", class: "plain", "aria-label": t("close"), onclick: () => said.remove() },
      icon("close"),
    ),
  );
  where.replaceChildren(said);
  if (!bad) setTimeout(() => said.remove(), 12_000);
}

/** Takes away what was said because OpenMRS or Orthanc was away: it is back. */
export function forgetAway() {
  for (const said of document.querySelectorAll(".message[data-away]")) said.remove();
}

/** Does what a person asked for, with the button off meanwhile; says an error in words. Returns
 * the answer, undefined after an error. */
export async function act(button, work) {
  button.disabled = true;
  try {
    return await work();
  } catch (problem) {
    say(inWords(problem), { bad: true, away: problem.status === 0 || problem.status === 503 });
    return undefined;
  } finally {
    button.disabled = false;
  }
}
