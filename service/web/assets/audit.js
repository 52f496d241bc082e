// The question of the log of changes: times are the viewer's own, which only the browser knows.
(function () {
  // An instant as a field of local time shows it.
  function toLocal(instant) {
    const at = new Date(instant || NaN);
    if (isNaN(at)) return "";
    return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }

  function times(asked) {
    return [toLocal((asked || {}).since), toLocal((asked || {}).until)];
  }

  // What was typed becomes the question, and the address that can be sent to somebody.
  function ask(clicks, ids, values) {
    const same = window.dash_clientside.no_update;
    if (!clicks) return [same, same];
    const asked = {};
    ids.forEach(({ path }, i) => {
      const value = (values[i] || "").trim();
      const isTime = path === "since" || path === "until";
      if (value) asked[path] = isTime ? new Date(value).toISOString() : value;
    });
    const query = new URLSearchParams(asked).toString();
    return [asked, query && "?" + query];
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { audit: { times, ask } });
})();
