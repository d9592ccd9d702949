// The page: its frame, which part is shown, and the pulse that keeps all of it fresh.
import { ask, inWords, ORTHANC, readFile } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { forgetAway, messages } from "./drawer.js";
import { Now } from "./now.js";
import { Notifications } from "./notifications.js";
import { Studies } from "./studies.js";
import { choose, duration, has, language, languages, loadTexts, number, secondsUntil, t } from "./texts.js";
import { Worklist } from "./worklist.js";

const PULSE = 3_000; // ms between two looks at the status
const PARTS = { now: Now, worklist: Worklist, notifications: Notifications, studies: Studies };

class Page {
  constructor() {
    this.status = null;
    this._part = null;
    this._links = {};
    this._away = el("div", { class: "away", role: "alert" });
    this._awayMore = el("p", { class: "away-more" }); // changes each second: not read out
    this._main = el("main", { id: "main", tabindex: "-1" });
    this._timer = 0;
    this._quiet = false; // whether the next change of the address is of a drawer that was closed
  }

  async start() {
    await loadTexts(readFile);
    document.title = t("title");
    document.body.replaceChildren(this._frame(), this._main, messages());
    addEventListener("hashchange", () => {
      if (this._quiet) this._quiet = false;
      else this._show();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this._pulse();
    });
    this._show();
    this._pulse();
  }

  /** Puts what a person looks at into the address, for Back, a bookmark or a colleague. */
  remember(part, parameters) {
    const kept = Object.entries(parameters).filter(([, value]) => value);
    const query = new URLSearchParams(kept).toString();
    history.replaceState(null, "", `#${part}${query ? `?${query}` : ""}`);
  }

  /** Puts an open drawer into the address, so that Back closes it and a link leads to it. Returns
   * what is to be called when it was closed. */
  opened(key, value) {
    const [name, query = ""] = location.hash.slice(1).split("?");
    const parameters = new URLSearchParams(query);
    const pushed = parameters.get(key) !== value;
    if (pushed) {
      parameters.set(key, value);
      history.pushState(null, "", `#${name}?${parameters}`);
    }
    const whole = location.hash;
    return () => {
      if (location.hash !== whole) return; // Back, or another link
      if (pushed) {
        this._quiet = true;
        history.back();
        return;
      }
      parameters.delete(key);
      const rest = parameters.toString();
      history.replaceState(null, "", `#${name}${rest ? `?${rest}` : ""}`);
    };
  }

  /** Looks again at once, after a person did something. */
  refresh() {
    return this._pulse();
  }

  _frame() {
    const links = Object.keys(PARTS).map((name) => {
      const count = el("span", { class: "count" });
      const link = el("a", { href: `#${name}` }, icon(name), el("span", {}, t(`part.${name}`)), count);
      this._links[name] = { link, count };
      return el("li", {}, link);
    });
    const skip = el("a", { class: "skip", href: "#main" }, t("skip"));
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      this._main.focus();
    });
    const select = el(
      "select",
      { id: "language", onchange: (event) => choose(event.target.value) },
      Object.entries(languages).map(([code, name]) =>
        el("option", { value: code, selected: code === language, lang: code }, name),
      ),
    );
    return [
      skip,
      el(
        "header",
        { class: "side" },
        el(
          "p",
          { class: "brand" },
          el("img", { src: new URL("openmrs/ui/icon.svg", ORTHANC).href, alt: "", width: 28, height: 28 }),
          el("span", {}, t("brand")),
        ),
        el("nav", { "aria-label": t("nav") }, el("ul", {}, links)),
        el(
          "div",
          { class: "foot" },
          el("a", { href: ORTHANC.href, class: "quiet" }, icon("out"), t("orthanc")),
          el("label", { for: "language", class: "quiet" }, t("page.language")),
          select,
        ),
      ),
      el("div", { class: "trouble" }, this._away, this._awayMore),
    ].reduce((all, one) => (all.append(one), all), new DocumentFragment());
  }

  _show() {
    const [name, query = ""] = location.hash.slice(1).split("?");
    const chosen = name in PARTS ? name : "now";
    const parameters = new URLSearchParams(query);
    for (const [other, { link }] of Object.entries(this._links)) {
      if (other === chosen) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    if (this._part?.name === chosen) {
      this._part.follow(parameters);
      return;
    }
    this._part?.leave();
    this._part = new PARTS[chosen](this, parameters);
    this._part.name = chosen;
    this._main.replaceChildren(el("h1", {}, t(`part.${chosen}`)), this._part.node);
    document.title = `${t(`part.${chosen}`)} · ${t("title")}`;
    scrollTo(0, 0);
    this._part.enter();
    if (this.status) this._part.update(this.status);
  }

  async _pulse() {
    clearTimeout(this._timer);
    try {
      this.status = await ask("status");
      this._trouble();
      this._count();
      this._part.update(this.status);
    } catch (problem) {
      const words = problem.status === 0 ? t("away") : inWords(problem);
      fill(this._away, icon("bad"), el("p", {}, words));
      fill(this._awayMore);
    }
    clearTimeout(this._timer);
    if (!document.hidden) this._timer = setTimeout(() => this._pulse(), PULSE);
  }

  /** Says on every part that OpenMRS is away, how old the list is and when it is asked again;
   * what was said of it before goes when it is back. */
  _trouble() {
    const { OpenMRS: openmrs, Worklist: list } = this.status;
    if (openmrs.Reachable || !openmrs.LastError) {
      fill(this._away);
      fill(this._awayMore);
      forgetAway();
      return;
    }
    fill(this._away, icon("bad"), el("p", {}, has(`problem.${openmrs.Problem}`) ? t(`problem.${openmrs.Problem}`) : openmrs.LastError));
    const age = list.AgeSeconds === null ? t("now.nolist") : t("away.age", { age: duration(Math.max(1, list.AgeSeconds)) });
    const next = secondsUntil(openmrs.NextRead);
    fill(this._awayMore, `${age} ${next > 0 ? t("away.next", { time: duration(next) }) : t("away.asked")}`);
  }

  _count() {
    const { Held = 0, Failed = 0 } = this.status.Notifications;
    const { link, count } = this._links.notifications;
    fill(count, Held + Failed ? number(Held + Failed) : "");
    count.classList.toggle("some", Held + Failed > 0);
    link.title = Held + Failed ? t("nav.decide", { n: Held + Failed }) : "";
  }
}

new Page().start().catch((problem) => {
  document.body.append(el("p", { class: "fatal", role: "alert" }, inWords(problem)));
});
