// What has to run in the browser even when the service does not answer.
(function () {
  let away = false;

  // Asks what the page shows has changed by its mark; the banner tells when nobody answers.
  async function look(_ticks, path, seen, title) {
    document.title = title || document.title;
    localTimes();
    const same = window.dash_clientside.no_update;
    const cluster = (path || "").match(/^\/clusters\/([^/]+)/);
    try {
      const answer = await fetch("/web/mark" + (cluster ? "/" + cluster[1] : ""), {
        signal: AbortSignal.timeout(5000),
      });
      if (!answer.ok) throw new Error("the service cannot answer");
      const mark = await answer.text();
      // What was typed while the service was away is not kept: show what is.
      const again = away ? mark + " " + Date.now() : mark;
      away = false;
      return [again === seen ? same : again, { display: "none" }];
    } catch (error) {
      away = true;
      return [same, {}];
    }
  }

  // Times are shown by the viewer's own clock and in their language.
  function localTimes() {
    for (const element of document.querySelectorAll("time[datetime]")) {
      element.textContent = new Date(element.dateTime).toLocaleString();
    }
  }

  function scheme(dark) {
    document.documentElement.setAttribute("data-ag-theme-mode", dark ? "dark" : "light");
    return dark ? "dark" : "light";
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { foreswap: { look, scheme } });
})();
