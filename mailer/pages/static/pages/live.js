// While a campaign is under way, the part of its page that changes is fetched anew every two seconds.
// An open stream would hold one of the server's threads for each reader.
(() => {
  "use strict";
  const EVERY = 2000;
  const address = new URL(location.href);
  address.search = "?now";
  address.hash = "";
  const MISSED = 3; // looks in a row, after which the page says that it shows old numbers
  let shown = ""; // as it was fetched last
  let missed = 0;

  async function look() {
    const now = document.getElementById("now");
    if (!now || now.hasAttribute("data-still")) return;
    try {
      const answer = await fetch(address, { redirect: "error", cache: "no-store" });
      missed = answer.ok ? 0 : missed + 1;
      if (answer.ok) show(now, await answer.text());
    } catch {
      missed += 1; // the service or the network is away, or the session is over: the next look may find it
    }
    document.getElementById("old").hidden = missed < MISSED;
    setTimeout(look, EVERY);
  }

  function show(now, text) {
    if (text === shown || now.querySelector(":active")) return; // a button that is pressed must not go away
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("now");
    if (!fresh) return;
    shown = text;
    const focused = now.contains(document.activeElement) ? document.activeElement.id : "";
    for (const open of now.querySelectorAll("details[open]")) fresh.querySelector(`#${open.id}`)?.setAttribute("open", "");
    const ended = fresh.hasAttribute("data-still");
    now.replaceWith(fresh);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (ended) location.reload(); // other things can be done with it now
  }

  setTimeout(look, EVERY);
})();
