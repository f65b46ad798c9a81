// What is wrong with a page as it is shown: every fold is opened first.
(async () => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));

  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const solid = (colour) => numbers(colour).length === 3 || numbers(colour)[3] === 1;
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (solid(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const named = (element) => `${element.tagName.toLowerCase()}: ${element.textContent.trim().slice(0, 40)}`;

  const faint = new Map();
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    texts += 1;
    const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const alpha = solid(getComputedStyle(element).color);
    if (ratio < 4.5 || !alpha) faint.set(named(element), Math.round(ratio * 100) / 100);
  }

  const root = document.documentElement;
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const wide = [...document.body.querySelectorAll("*")].filter((element) => {
    if (element.getBoundingClientRect().right <= root.clientWidth + 1) return false;
    for (let at = element; at !== document.body; at = at.parentElement) {
      if (at.matches(".scroll, .figure") && at.getBoundingClientRect().right <= root.clientWidth + 1)
        return false;
    }
    return true;
  });
  return {
    width: root.clientWidth,
    overflow: root.scrollWidth - root.clientWidth,
    wide: wide.slice(0, 5).map(named),
    images: document.images.length,
    broken: [...document.images].filter((image) => !image.naturalWidth).map((image) => image.alt),
    texts,
    faint: [...faint].slice(0, 8),
    repeated: ids.filter((id, index) => ids.indexOf(id) !== index),
    background: getComputedStyle(document.body).backgroundColor,
  };
})()
