// What is typed is saved as a draft a moment later, and the page shows whom it reaches. Everything here can also be done
// with the buttons of the form. Nothing is lost: what could not be saved is kept in this tab until it is.
(() => {
  "use strict";
  const once = document.querySelector("form[data-once]");
  if (once) guard(once);
  const form = document.getElementById("compose");
  if (!form) return;

  const SOON = 800; // ms after the last key
  const LATER = 10000; // ms until the next try, where the service was away
  const KEPT = ["from", "replyTo", "subject", "body", "query", "priority", "reached", "notReached", "minRecipients", "maxRecipients", "to"];
  const TICKED = ["dryrun", "inlineCss"];
  const say = form.dataset;
  const place = `draft ${say.draft}`; // where this tab keeps what is not saved
  const field = (name) => form.elements.namedItem(name);
  const ticked = () => Object.fromEntries(TICKED.map((name) => [name, field(name).checked]));
  const status = document.getElementById("saved");
  let typed = 0; // counts what was typed, to know whether there is more since
  let savedUpTo = 0;
  let timer = 0;
  let busy = null; // the save that is under way
  let stopped = Boolean(say.conflict); // somebody has to choose first
  let side = ""; // which side of the query was changed: text or form
  let queryChanged = field("version").value !== "0"; // a draft that is loaded is looked at once
  let leaving = null;
  let failed = false; // the last save: then only this tab has the text

  function guard(what) {
    let sent = false;
    what.addEventListener("submit", (event) => {
      if (sent) event.preventDefault();
      sent = true;
    });
    addEventListener("pageshow", () => { sent = false; });
  }

  function tell(text, link, label) {
    if (status.textContent.trim() !== text || link) {
      status.textContent = text;
      if (link) {
        const a = document.createElement("a");
        a.href = link;
        a.textContent = label;
        status.append(" ", a);
      }
    }
  }

  // sending: the service is about to save just this, and may have done so when the page is gone
  function keep(sending = false) {
    const values = Object.fromEntries(KEPT.map((name) => [name, field(name).value]));
    try {
      sessionStorage.setItem(place, JSON.stringify({ ...values, ...ticked(), version: field("version").value, sending }));
    } catch {
      // no room, or not allowed: then the page itself is what has it
    }
  }

  function forget() {
    try { sessionStorage.removeItem(place); } catch { /* as above */ }
  }

  function restore() {
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(place)); } catch { /* as above */ }
    if (!kept) return;
    if (say.posted) return forget(); // the page has it
    const older = kept.version !== field("version").value; // then its own version tells the service that both are there
    const asSent = older && kept.sending; // the service writes the query in its own way
    const same = (name) => field(name).value === (kept[name] ?? "") || (asSent && (name === "query" || field(name).value === kept[name].trim()));
    if (KEPT.every(same) && TICKED.every((name) => field(name).checked === Boolean(kept[name]))) return forget();
    field("version").value = kept.version;
    for (const name of KEPT) field(name).value = kept[name] ?? "";
    for (const name of TICKED) field(name).checked = Boolean(kept[name]);
    side = "text";
    queryChanged = true;
    changed();
    tell(say.restored);
  }

  function changed() {
    typed += 1;
    if (say.conflict) return; // what is kept would replace the other text, which nobody has asked for yet
    keep();
    if (!stopped) wait(SOON);
  }

  function wait(time) {
    clearTimeout(timer);
    timer = setTimeout(save, time);
  }

  form.addEventListener("input", (event) => {
    if (event.target.closest("#query-form")) { side = "form"; queryChanged = true; }
    if (event.target.id === "query") { side = "text"; queryChanged = true; }
    if (event.target.id === "dryrun") queryChanged = true;
    changed();
  });

  async function save(keepalive = false) {
    clearTimeout(timer);
    if (busy) {
      await busy;
      if (typed === savedUpTo || stopped) return;
    }
    busy = send(keepalive).catch(() => away());
    await busy;
    busy = null;
  }

  const size = () => new Blob(KEPT.map((name) => field(name).value)).size;

  async function send(keepalive, again = true) {
    if (size() > Number(say.max)) {
      fail();
      return tell(say.tooLarge);
    }
    const upTo = typed;
    const texts = { query: field("query").value };
    tell(say.saving);
    keep(true);
    const headers = { Accept: "application/json" };
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form), headers, redirect: "error", cache: "no-store", keepalive });
    const found = await answer.json();
    if (answer.ok) return saved(found, upTo, texts);
    if (found.form && again) { // signed in anew, in another tab
      field("form").value = found.form;
      return send(keepalive, false);
    }
    fail();
    if (found.signedOut) return tell(say.signedOut, say.signIn, say.signInAgain);
    if (answer.status >= 500) return away();
    stopped = answer.status === 409;
    if (stopped) return tell(`${found.said} ${say.savedElse}`, found.place ? `${base()}${found.place}` : "", say.see);
    tell(found.said || say.tooLarge);
  }

  function saved(found, upTo, texts) {
    savedUpTo = upTo;
    failed = false;
    field("version").value = found.version;
    if (typed === upTo) forget();
    const problem = Object.values(found.problems)[0];
    tell(problem || `${say.saved} ${new Date(found.savedAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`);
    if (problem) return look(false);
    if (field("query").value === texts.query) {
      field("query").value = found.query;
      field("shown").value = found.query;
    }
    return look(queryChanged);
  }

  function fail() {
    failed = true;
    keep();
  }

  function away() {
    fail();
    tell(say.notSaved);
    wait(LATER);
  }

  const base = () => form.action.replace(/compose\/[^/]*$/, "");

  async function look(atAudience) {
    const wanted = side;
    const upTo = typed;
    const old = document.getElementById("audience");
    if (atAudience) old.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${form.action}?part=1${atAudience ? "&look=1" : ""}`, { redirect: "error", cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      swap(fresh, "checks");
      if (atAudience) {
        swap(fresh, "audience");
        queryChanged = typed !== upTo && queryChanged;
        if (wanted === "text" && side === "text") swap(fresh, "query-form");
      }
    } catch {
      old.removeAttribute("aria-busy"); // the next one may work
    }
  }

  function swap(fresh, id) {
    const now = fresh.getElementById(id);
    const old = document.getElementById(id);
    if (!now || !old || now.isEqualNode(old)) return;
    const open = new Set([...old.querySelectorAll("details[open] > summary")].map((one) => one.nextElementSibling?.nextElementSibling?.id));
    old.replaceWith(now);
    for (const one of now.querySelectorAll("details")) if (open.has(one.querySelector("input:not([type])")?.id)) one.open = true;
  }

  form.addEventListener("submit", (event) => {
    if (leaving) return event.preventDefault(); // pressed twice
    const button = event.submitter;
    if (size() > 2 * Number(say.max)) { // more than the service reads, to give it back with its answer
      event.preventDefault();
      tell(say.tooLarge);
      return status.scrollIntoView();
    }
    if (busy) { // its answer has the version that this form has to name
      event.preventDefault();
      leaving = button || true;
      stopped = true; // a save that waits for this one would name a version after that of the form
      clearTimeout(timer);
      busy.finally(() => { leaving = null; busy = null; form.requestSubmit(button); });
      return;
    }
    clearTimeout(timer);
    stopped = true;
    leaving = button || true;
    if (!say.conflict) keep(true);
  });

  addEventListener("pageshow", (event) => {
    leaving = null;
    if (event.persisted) { stopped = false; queryChanged = true; }
  });
  status.addEventListener("click", (event) => {
    if (event.target.closest("a")) leaving = true; // what this tab keeps is there when one comes back
  });
  addEventListener("beforeunload", (event) => {
    if (failed && !leaving && typed !== savedUpTo) event.preventDefault(); // a closed tab would lose it
  });
  addEventListener("pagehide", () => {
    if (!leaving && !busy && !stopped && typed !== savedUpTo && field("body").value.length < 40000) save(true);
  });
  addEventListener("focus", () => {
    if (typed !== savedUpTo && !stopped) wait(SOON); // perhaps signed in again, in another tab
  });

  restore();
  if (queryChanged && typed === 0) look(true);
})();
