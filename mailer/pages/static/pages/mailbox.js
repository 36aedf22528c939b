// The newest messages are fetched anew every two seconds, for as long as somebody looks at the page.
(() => {
  "use strict";
  const EVERY = 2000;
  const address = new URL(location.href);
  address.searchParams.set("now", "");

  function put(now, fresh) {
    if (fresh.innerHTML === now.innerHTML) return;
    const focused = now.contains(document.activeElement) && document.activeElement.getAttribute("href");
    now.replaceWith(fresh);
    if (focused) {
      const same = [...fresh.querySelectorAll("a")].find((one) => one.getAttribute("href") === focused);
      if (same) same.focus({ preventScroll: true });
    }
  }

  async function look() {
    const now = document.getElementById("now");
    if (!now || now.hasAttribute("data-still")) return;
    if (!document.hidden) {
      try {
        const answer = await fetch(address, { redirect: "error", cache: "no-store" });
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("now");
          if (fresh) put(now, fresh);
        }
      } catch {
        // the service or the network is away, or the session is over: the next look may find it
      }
    }
    setTimeout(look, EVERY);
  }

  setTimeout(look, EVERY);
})();
