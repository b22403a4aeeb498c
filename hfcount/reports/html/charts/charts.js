// Draws the charts of a page: each [data-chart] names a spec of SPECS and brings its figures.
(() => {
  const { show, hide } = tip;
  const UNITS = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["bytes", 1]];
  const unitOf = (bytes) => UNITS.find(([, size]) => bytes >= size) || UNITS[3];
  const memory = (bytes) => {
    const [name, size] = unitOf(bytes);
    return (bytes / size).toFixed(size === 1 ? 0 : 2) + " " + name;
  };

  const config = (style) => {
    const text = { font: style.fontFamily, fill: "currentColor" };
    const axis = {
      labelFont: style.fontFamily, titleFont: style.fontFamily, labelColor: "currentColor", titleColor: "currentColor",
      titleFontWeight: 400, labelFontSize: 12, titleFontSize: 12, labelOpacity: 0.8, titleOpacity: 0.8,
      gridColor: "currentColor", gridOpacity: 0.15, domainColor: "currentColor", tickColor: "currentColor",
    };
    return { text, axis };
  };

  const widest = (texts, font) => {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = font;
    return Math.ceil(Math.max(0, ...texts.map((text) => pen.measureText(text).width)));
  };

  const bars = (data, style) => {
    const font = `${parseFloat(style.fontSize)}px ${style.fontFamily}`;
    const signals = {
      fontSize: parseFloat(style.fontSize),
      nameWidth: Math.min(260, widest(data.rows.map((row) => row.name), font)),
      figureWidth: widest(data.rows.map((row) => row.figure), font),
      count: data.rows.length,
    };
    return { signals, values: { rows: data.rows, parts: data.parts } };
  };

  const timeline = (data, style) => {
    const [unit, size] = unitOf(data.highest);
    const points = data.points.flatMap(([at, ...bytes]) =>
      bytes.map((each, order) => ({ at, order, name: data.names[order], colour: data.colours[order], size: each / size })));
    const signals = {
      fontSize: parseFloat(style.fontSize),
      whole: [0, data.operations],
      highest: (data.highest * 1.12) / size,
      unit,
      peak: { at: data.peak.at + 0.5, size: data.peak.bytes / size, text: memory(data.peak.bytes) },
    };
    const phases = data.phases.map((each) => ({ ...each, late: each.begins > 0.75 * data.operations }));
    return { signals, values: { points, phases } };
  };

  // What a line over the curve says: the operation, its phase, and the bytes there by bucket.
  const told = (data, pointed) => {
    const [at, ...bytes] = data.points.findLast(([begins]) => begins <= pointed && begins < data.operations) || data.points[0];
    const phase = data.phases.find((each) => pointed >= each.begins && pointed < each.ends) || data.phases[0];
    const lines = data.names.map((name, index) => [name, bytes[index]]).filter((each) => each[1]).reverse();
    const total = bytes.reduce((sum, each) => sum + each, 0);
    return [`${phase.name}, operation ${(at + 1).toLocaleString("en")}: ${memory(total)}`,
      ...lines.map(([name, each]) => `${name}: ${memory(each)}`)].join("\n");
  };

  const legend = (figure, view) => {
    const names = [...figure.querySelectorAll(".legend [data-of]")];
    for (const name of names) {
      name.addEventListener("click", () => {
        const picked = name.getAttribute("aria-pressed") === "true" ? null : name.dataset.of;
        for (const each of names) each.setAttribute("aria-pressed", String(each.dataset.of === picked));
        view.signal("picked", picked).runAsync();
      });
    }
  };

  // A component's bar leads to the same component in the layers.
  const leadTo = (host, view) => {
    const other = document.getElementById(host.dataset.opens);
    view.addEventListener("click", (event, item) => {
      if (!item || !item.datum || !item.datum.tip) return;
      other.checked = true;
      hide();
      const names = other.closest(".switch").querySelectorAll("[data-of]");
      const name = [...names].find((each) => each.dataset.of === item.datum.name);
      if (name && name.getAttribute("aria-pressed") !== "true") name.click();
    });
  };

  // The line over a curve follows the pointer, and says what is there.
  const follow = (host, view, data) => {
    let pointer = null;
    host.addEventListener("pointermove", (event) => { pointer = event; }, { capture: true });
    view.addSignalListener("pointed", (name, pointed) =>
      (pointed === null ? hide() : show(told(data, pointed), pointer.clientX, pointer.clientY)));
  };

  const draw = (host) => {
    const data = JSON.parse(host.dataset.values);
    const style = getComputedStyle(host);
    const spec = structuredClone(SPECS[host.dataset.chart]);
    const { signals, values } = { bars, timeline }[host.dataset.chart](data, style);
    for (const each of spec.signals) if (each.name in signals) each.value = signals[each.name];
    for (const each of spec.data) if (each.name in values) each.values = values[each.name];
    host.textContent = "";
    const view = new vega.View(vega.parse(spec, config(style), { ast: true }), {
      expr: vega.expressionInterpreter, renderer: "svg", hover: true, container: host,
      tooltip: (handler, event, item, text) => (text ? show(text, event.clientX, event.clientY) : hide()),
    });
    const fit = (width) => view.signal("width", width || host.closest("section").clientWidth).run();
    fit();
    addEventListener("resize", () => fit());
    addEventListener("beforeprint", () => fit(PRINTED));
    addEventListener("afterprint", () => fit());
    legend(host.closest("figure"), view);
    if (host.dataset.opens) leadTo(host, view);
    if (host.dataset.chart === "timeline") follow(host, view, data);
  };

  const PRINTED = 960; // pixels that a sheet's width is taken for, so that a chart's letters are as large as the text's
  document.querySelectorAll("[data-chart]").forEach(draw);
})();
