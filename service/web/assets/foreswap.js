// What has to run in the browser even when the service does not answer.
(function () {
  let away = false;
  let asking = null;

  // Asks what the page shows has changed by its mark; the banner tells when nobody answers.
  // An answer that takes longer than until the next question answers that one, too.
  function look(_ticks, path, seen, title) {
    document.title = title || document.title;
    asking = asking || ask(path, seen).finally(() => (asking = null));
    return asking;
  }

  async function ask(path, seen) {
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

  // Times are shown by the viewer's own clock and in their language, as soon as they are there.
  function localTimes() {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      const text = element.classList.contains("clock")
        ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
        : at.toLocaleString();
      if (element.textContent !== text) element.textContent = text;
    }
  }

  new MutationObserver(localTimes).observe(document, { childList: true, characterData: true, subtree: true });

  // Buttons of which a page has many tell one store which of them was pressed.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-tells]");
    if (!button) return;
    const { tells, value } = button.dataset;
    window.dash_clientside.set_props(tells, { data: { value, at: Date.now() } });
  });

  // Enter may come before what was typed has been taken over: let two pictures pass.
  async function settled(...counts) {
    const next = () => new Promise((done) => requestAnimationFrame(done));
    await next();
    await next();
    const pressed = counts.reduce((sum, count) => sum + (count || 0), 0);
    return pressed || window.dash_clientside.no_update;
  }

  let shade = "light";

  // Everything is drawn anew when it changes, so it is left alone where it is as it should be.
  function scheme(dark) {
    const wanted = dark ? "dark" : "light";
    document.documentElement.setAttribute("data-ag-theme-mode", wanted);
    if (wanted === shade) return window.dash_clientside.no_update;
    return (shade = wanted);
  }

  // Instants of a chart by the viewer's own clock: plotly knows no zones.
  function localFigure(figure) {
    const same = window.dash_clientside.no_update;
    if (!figure) return [same, same, same];
    const data = figure.data.map((trace) => ({ ...trace, x: trace.x.map(localText) }));
    const drawn = data.length > 0;
    const style = { height: figure.layout.height, display: drawn ? "block" : "none" };
    return [{ ...figure, data }, style, drawn];
  }

  function localText(instant) {
    if (!instant) return instant;
    const at = new Date(instant);
    return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  }

  // A cell of a table that leads to the page of what it names, without loading everything anew.
  function Link(props) {
    if (!props.value) return "";
    const href = props.base + encodeURIComponent(props.value);
    const go = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      window.history.pushState({}, "", href);
      window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
      window.scrollTo(0, 0);
    };
    return React.createElement("a", { href, onClick: go, className: "cell-link" }, props.value);
  }

  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  cells.Link = Link;

  window.dash_clientside = Object.assign({}, window.dash_clientside, { foreswap: { look, settled, scheme, localFigure } });
})();
