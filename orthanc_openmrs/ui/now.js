// Now: how OpenMRS, the list and the notifications are, and what to do.
import { ask } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { act, openDrawer, say } from "./drawer.js";
import { duration, has, moment, number, t } from "./texts.js";

const MOST_CALLERS = 8;

export class Now {
  constructor(page) {
    this._page = page;
    this._todo = el("section", { class: "todo", "aria-label": t("now.todo") });
    this._openmrs = el("div", { class: "card-body" });
    this._list = el("div", { class: "card-body" });
    this._told = el("div", { class: "card-body" });
    this._about = el("p", { class: "about" });
    const read = el("button", { type: "button", class: "button" }, t("now.read"));
    read.addEventListener("click", () =>
      act(read, async () => {
        const counts = await ask("worklist/refresh", { method: "POST" });
        say(t("now.read.done", { n: counts.Steps, offered: counts.Offered }));
        await this._page.refresh();
      }),
    );
    const check = el("button", { type: "button", class: "button" }, t("check.all"));
    check.addEventListener("click", () => act(check, openChecks));
    this._asked = el("div", { class: "card-body" });
    this.node = el(
      "div",
      { class: "now" },
      this._todo,
      el("p", { class: "actions" }, check),
      el(
        "div",
        { class: "cards" },
        card(t("now.openmrs"), this._openmrs),
        card(t("now.list"), this._list, read),
        card(t("now.told"), this._told),
        card(t("now.callers"), this._asked),
      ),
      this._about,
    );
  }

  enter() {
    this._callers();
  }

  leave() {}
  follow() {}

  /** Who asked for the worklist lately. */
  async _callers() {
    const found = await ask("callers").catch(() => null);
    if (!found) return;
    fill(
      this._asked,
      found.length
        ? el(
            "ul",
            { class: "plain-list" },
            found.slice(0, MOST_CALLERS).map((one) =>
              el(
                "li",
                {},
                el("a", { href: `#worklist?aet=${encodeURIComponent(one.AETitle)}` }, one.AETitle || t("empty")),
                one.Address ? ` ${one.Address}` : "",
                `, ${moment(one.At)}: `,
                one.Answers === null ? t("now.callers.failed") : t("now.callers.got", { n: one.Answers }),
              ),
            ),
          )
        : el("p", { class: "second" }, t("now.callers.none")),
    );
  }

  update(status) {
    const { OpenMRS: openmrs, Worklist: list, Notifications: told } = status;
    fill(this._todo, todo(status));
    this._callers();
    fill(
      this._openmrs,
      mark(
        openmrs.Reachable ? "good" : "bad",
        openmrs.Reachable ? t("now.answers") : openmrs.LastError ? t("now.silent") : t("now.first"),
      ),
      facts([
        [t("now.since"), moment(openmrs.Since) || "–"],
        [t("now.generation"), openmrs.Generation ? t("now.module", { generation: openmrs.Generation }) : t("now.unknown")],
        openmrs.Reachable ? null : [t("now.last"), moment(openmrs.LastSuccess) || t("never")],
        status.Orders ? [t("now.orders"), status.Orders.Reachable ? number(status.Orders.Offered) : t("now.silent")] : null,
      ]),
    );
    fill(
      this._list,
      mark(
        list.Stale ? "bad" : openmrs.Reachable ? "good" : "wait",
        list.AgeSeconds === null
          ? t("now.nolist")
          : t("now.age", { age: duration(Math.max(1, list.AgeSeconds)) }),
      ),
      facts([
        [t("now.offered"), number(list.Offered)],
        [t("now.skipped"), number(list.Skipped)],
        [t("now.steps"), number(list.Steps)],
      ]),
    );
    const waiting = (told.Held ?? 0) + (told.Failed ?? 0);
    fill(
      this._told,
      told.Error
        ? mark("bad", t("now.database"))
        : waiting
          ? mark("wait", t("now.decide", { n: waiting }))
          : mark(openmrs.Reachable ? "good" : "wait", told.Pending ? t("now.underway") : t("now.alltold")),
      facts(
        ["Pending", "Held", "Failed", "Delivered", "Discarded"].map((state) => [
          el("a", { href: `#notifications?state=${state.toLowerCase()}`, data: { focus: state } }, t(`state.${state.toLowerCase()}`)),
          state in told ? number(told[state]) : "–",
        ]),
      ),
    );
    fill(this._about, t("now.about", { version: status.Version, zone: Intl.DateTimeFormat().resolvedOptions().timeZone }));
  }
}

/** Runs the doctor and shows what it finds. */
async function openChecks() {
  const { Doctor: doctor } = await ask("status", { query: { full: "true" } });
  const { body } = openDrawer(t("check.title"), { wide: true });
  const kinds = { ok: "good", warning: "wait", error: "bad" };
  body.append(
    el(
      "ul",
      { class: "rules" },
      doctor.Findings.map((one) =>
        el(
          "li",
          { class: kinds[one.State] },
          icon(kinds[one.State]),
          el(
            "div",
            {},
            el("p", {}, el("strong", {}, one.Subject), ` ${one.Meaning}`),
            one.Advice ? el("p", {}, one.Advice) : null,
          ),
        ),
      ),
    ),
  );
}

function card(title, ...content) {
  return el("section", { class: "card" }, el("h2", {}, title), content);
}

function mark(kind, words) {
  return el("p", { class: `mark ${kind}` }, icon(kind), el("strong", {}, words));
}

function facts(pairs) {
  return el(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** What a person should look at, the worst first; one calm line where there is nothing. */
function todo({ OpenMRS: openmrs, Orders: orders, Worklist: list, Notifications: told }) {
  const found = [];
  const sources = orders && orders.Problem !== openmrs.Problem ? [openmrs, orders] : [openmrs];
  for (const source of sources.filter((one) => one.LastError)) {
    const known = has(`problem.${source.Problem}`);
    const what = known ? t(`problem.${source.Problem}`) : source.LastError;
    found.push(
      task(
        "bad",
        source === orders ? t("todo.orders", { problem: what }) : what,
        known ? t(`problem.${source.Problem}.do`) : "",
        el("span", { class: "raw" }, source.LastError),
      ),
    );
  }
  if (list.Stale) found.push(task("bad", t("todo.stale"), t("todo.stale.do")));
  if (told.Error) found.push(task("bad", t("todo.database"), t("todo.database.do"), el("span", { class: "raw" }, told.Error)));
  if (told.Failed) {
    found.push(task("bad", t("todo.failed", { n: told.Failed }), t("todo.failed.do"), more("notifications?state=failed")));
  }
  if (told.Held) {
    found.push(task("wait", t("todo.held", { n: told.Held }), t("todo.held.do"), more("notifications?state=held")));
  }
  if (list.Skipped) {
    found.push(task("wait", t("todo.skipped", { n: list.Skipped }), t("todo.skipped.do"), more("worklist?show=skipped")));
  }
  if (told.Waiting) found.push(task("wait", t("todo.waiting", { n: told.Waiting }), t("todo.waiting.do")));
  if (told.Pending && !openmrs.Reachable) {
    found.push(task("wait", t("todo.pending", { n: told.Pending }), t("todo.pending.do"), more("notifications?state=pending")));
  }
  return found.length
    ? el("ul", {}, found)
    : el("p", { class: "calm" }, icon("good"), t("todo.nothing"));
}

function task(kind, what, how, extra) {
  const id = `todo-${kind}-${extra?.dataset.focus ?? "raw"}`;
  if (extra?.tagName === "A") extra.setAttribute("aria-describedby", id);
  return el(
    "li",
    { class: kind },
    icon(kind),
    el(
      "div",
      {},
      el("p", { id }, el("strong", {}, what)),
      how ? el("p", {}, how) : null,
      extra?.tagName === "SPAN" ? el("p", {}, extra) : null,
    ),
    extra?.tagName === "A" ? extra : null,
  );
}

function more(where) {
  return el("a", { class: "button small", href: `#${where}`, data: { focus: where } }, t("todo.look"));
}
