// Draws what service/web/markup.py writes, and of what was drawn before only what differs.
(function () {
  function draw(text, name) {
    const now = document.createElement("template");
    now.innerHTML = text || "";
    mendInside(document.getElementById(name), now.content);
  }

  // Elements of the same kind stay where they are, with whatever has the focus in them.
  function mendInside(old, now) {
    const [before, after] = [[...old.childNodes], [...now.childNodes]];
    const alike = before.length === after.length && before.every((node, i) => node.nodeName === after[i].nodeName);
    if (!alike) return old.replaceChildren(...after);
    before.forEach((node, i) => node.isEqualNode(after[i]) || mend(node, after[i]));
  }

  function mend(old, now) {
    if (old.nodeType === Node.TEXT_NODE) {
      old.nodeValue = now.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) now.hasAttribute(name) || old.removeAttribute(name);
    for (const { name, value } of now.attributes) old.setAttribute(name, value);
    mendInside(old, now);
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { markup: { draw } });
})();
