// While a campaign is under way, the part of its page that changes is fetched anew every two seconds.
// An open stream would hold one of the server's threads for each reader.
(() => {
  "use strict";
  const EVERY = 2000;
  const address = new URL(location.href);
  address.search = "?now";

  async function look() {
    const now = document.getElementById("now");
    if (!now || now.hasAttribute("data-still")) return;
    try {
      const answer = await fetch(address, { redirect: "error", cache: "no-store" });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("now");
        if (fresh) {
          const ended = fresh.hasAttribute("data-still");
          now.replaceWith(fresh);
          if (ended) location.reload(); // other things can be done with it now
        }
      }
    } catch {
      // the service or the network is away: the next look may find it
    }
    setTimeout(look, EVERY);
  }

  setTimeout(look, EVERY);
})();
