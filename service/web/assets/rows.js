// Rows of the table of VMs: all of them once, then only what has changed.
(function () {
  let asking = new AbortController();
  let whole = false;

  // Rows are asked for before the page is drawn that shows them.
  const place = window.location.pathname.match(/^\/clusters\/([^/]+)\/vms$/);
  let ahead = place && fetch(address(decodeURIComponent(place[1]), ""));

  function address(cluster, since) {
    return `/web/vms/${encodeURIComponent(cluster)}?since=${encodeURIComponent(since)}`;
  }

  async function read(path) {
    const early = ahead;
    ahead = null;
    if (early) {
      const answer = await early.catch(() => null);
      if (answer?.url.endsWith(path)) {
        const told = answer.ok && (await answer.json());
        if (told?.version) return told;
      }
    }
    const answer = await fetch(path, { signal: asking.signal });
    return answer.ok ? answer.json() : {};
  }

  async function fetchRows(live, cluster, held) {
    const same = window.dash_clientside.no_update;
    const nothing = [same, same, same];
    if (!cluster) return nothing;
    asking.abort();
    asking = new AbortController();
    // Back from an absence: what the table shows may be what was typed in vain.
    whole = whole || / \d{13}$/.test(live || "");
    const since = held && !whole ? held.version : "";
    try {
      const { version, num, rows, add, update, remove } = await read(address(cluster, since));
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
