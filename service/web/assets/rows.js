// Rows of the table of VMs: all of them once, then only what has changed.
(function () {
  let asking = new AbortController();
  let whole = false;

  async function fetchRows(live, cluster, held) {
    const same = window.dash_clientside.no_update;
    const nothing = [same, same, same];
    if (!cluster) return nothing;
    asking.abort();
    asking = new AbortController();
    // Back from an absence: what the table shows may be what was typed in vain.
    whole = whole || / \d{13}$/.test(live || "");
    const since = held && !whole ? held.version : "";
    const path = `/web/vms/${encodeURIComponent(cluster)}?since=${encodeURIComponent(since)}`;
    try {
      const answer = await fetch(path, { signal: asking.signal });
      if (!answer.ok) return nothing;
      const { version, num, rows, add, update, remove } = await answer.json();
      // The visitor may have gone on to another cluster meanwhile.
      if (!version || document.getElementById("vms-cluster")?.textContent !== cluster) return nothing;
      whole = false;
      if (rows) return [rows, same, { version, num }];
      const any = add.length + update.length + remove.length;
      return [same, any ? { add, update, remove, async: false } : same, { version, num }];
    } catch (error) {
      return nothing; // Asked again since, or the service is away: the banner tells that.
    }
  }

  function count(selected, held) {
    if (!held) return window.dash_clientside.no_update;
    const chosen = (selected || []).length;
    const vms = `${held.num.toLocaleString("en")} VMs`;
    return chosen ? `${vms}, ${chosen.toLocaleString("en")} selected` : vms;
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { rows: { fetchRows, count } });
})();
