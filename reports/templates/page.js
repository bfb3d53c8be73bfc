"use strict";
// Makes the tables of the report sortable and filtered, and draws its charts with plotly.js when they come into view.
(() => {
  const MOST_ROWS = 200; // rows of a table that are shown before all are asked for
  const FEW_ROWS = 5; // a table of fewer rows needs no filter
  const UNKNOWN = "–";
  // Okabe and Ito's colours, and a symbol and a dash for each, as in the PNG pictures
  const COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-down", "triangle-up", "pentagon", "star"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];

  const element = (tag, attributes = {}, text = "") => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.textContent = text;
    return made;
  };

  // ---- tables

  const tables = new Map(); // what is known of each table: its rows in the order of the file, and what is shown

  const cellText = (row, column) => row.cells[column].textContent.trim();

  function tableOf(table) {
    if (!tables.has(table)) {
      const rows = [...table.tBodies[0].rows];
      tables.set(table, { rows, order: rows, words: [], most: MOST_ROWS, texts: null, hovers: [], controls: null });
    }
    return tables.get(table);
  }

  function show(table) {
    const state = tableOf(table);
    let found = state.order;
    if (state.words.length) {
      state.texts ??= new Map(state.rows.map((row) => [row, [...row.cells].map((c) => c.textContent).join(" ").toLowerCase()]));
      found = found.filter((row) => state.words.every((word) => state.texts.get(row).includes(word)));
    }
    const shown = found.slice(0, state.most);
    table.tBodies[0].replaceChildren(...shown);
    if (state.controls) {
      const all = state.rows.length;
      state.controls.count.textContent = shown.length === all ? `${all} rows` : `${shown.length} of ${all} rows`;
      state.controls.more.hidden = shown.length === found.length;
      state.controls.more.textContent = `Show all ${found.length}`;
    }
  }

  // The first number of a cell, such as 44.4 of "44.4 ±2.8"; unknown figures come last in both directions.
  const numberOf = (text) => Number.parseFloat(/-?\d+(\.\d+)?/.exec(text)?.[0] ?? "NaN");

  function sort(table, column) {
    const state = tableOf(table);
    const heading = table.tHead.rows[0].cells[column];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const direction = descending ? -1 : 1;
    const numeric = heading.classList.contains("figure");
    const collator = new Intl.Collator("en", { numeric: true }); // gpu-2 before gpu-10
    const keyed = state.rows.map((row) => {
      const text = cellText(row, column);
      return { row, key: numeric ? numberOf(text) : text, unknown: text === UNKNOWN };
    });
    keyed.sort((a, b) => {
      const missing = (numeric ? Number.isNaN(a.key) - Number.isNaN(b.key) : a.unknown - b.unknown) || 0;
      if (missing) return missing;
      if (numeric) return Number.isNaN(a.key) ? 0 : direction * (a.key - b.key);
      return direction * collator.compare(a.key, b.key);
    });
    state.order = keyed.map(({ row }) => row);
    show(table);
  }

  function setUpTable(table) {
    const state = tableOf(table);
    if (state.controls) return;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = element("button", { type: "button", className: "sort" });
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, column));
      heading.append(button);
    });
    const name = table.getAttribute("aria-label");
    const filter = element("input", { type: "search", placeholder: "Filter", ariaLabel: `Filter: ${name}` });
    const count = element("output");
    const more = element("button", { type: "button" });
    filter.addEventListener("input", () => {
      state.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      show(table);
    });
    more.addEventListener("click", () => {
      state.most = Infinity;
      show(table);
    });
    const bar = element("div", { className: "controls" });
    bar.append(filter, count, more);
    bar.hidden = state.rows.length < FEW_ROWS;
    table.parentElement.before(bar);
    state.controls = { count, more };
    show(table);
  }

  // ---- charts

  // plotly.js takes texts for a kind of HTML
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text) => (text.length > 70 ? `${text.slice(0, 69)}…` : text);

  // All known figures of a table's row; a "±" stands behind the figure that it belongs to.
  function hoverText(head, table, number) {
    const row = tableOf(table).rows[number];
    const lines = head ? [`<b>${escaped(cut(head))}</b>`] : [];
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const cell = cellText(row, column);
      if (cell === UNKNOWN || cell === "") return;
      const unit = heading.dataset.unit ? ` ${heading.dataset.unit}` : "";
      const title = heading.dataset.title;
      if (title === "±") lines[lines.length - 1] += ` ±${escaped(cell)}${unit}`;
      else lines.push(`${escaped(title)} <b>${escaped(cut(cell))}</b>${unit}`);
    });
    return lines.join("<br>");
  }

  function look() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      gridcolor: color("line"), linecolor: color("dim"), zerolinecolor: color("line"), tickcolor: color("dim"),
      exponentformat: "none", separatethousands: true, automargin: true, title: { standoff: 10 },
    };
    return {
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: COLORS, xaxis: axis, yaxis: axis,
        font: { color: color("ink"), family: "system-ui, sans-serif", size: 12 }, margin: { l: 60, r: 16, t: 30, b: 40 },
        hoverlabel: { bgcolor: color("paper"), bordercolor: color("dim"), font: { color: color("ink") }, align: "left" },
        hovermode: "closest", legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0 }, showlegend: true,
        modebar: { bgcolor: "rgba(0,0,0,0)", color: color("dim"), activecolor: color("ink") },
      },
    };
  }

  function traceOf({ rows, table, style, ...trace }, head, tableNamed) {
    if (rows) {
      const ofRows = tableNamed(table);
      const known = tableOf(ofRows).hovers;
      trace.hovertext = rows.map((row) => (known[row] ??= hoverText(head, ofRows, row)));
      trace.hoverinfo = "text";
    }
    if (style !== undefined) {
      trace.type = "scatter";
      trace.mode = trace.text ? "lines+markers+text" : "lines+markers";
      trace.text = trace.text?.map((text) => `\u00a0\u00a0${text}`); // off its point
      trace.textposition = "bottom right";
      trace.marker = { symbol: SYMBOLS[style % 7], size: 8, color: COLORS[style % 7] };
      trace.line = { color: COLORS[style % 7], dash: DASHES[Math.floor(style / 7) % 4], width: 2 };
      trace.textfont = { size: 10 };
      for (const error of ["error_x", "error_y"]) {
        if (trace[error]) Object.assign(trace[error], { type: "data", thickness: 1, width: 3, color: `${COLORS[style % 7]}99` });
      }
    }
    return trace;
  }

  // plotly.js (MIT licence, Copyright Plotly, Inc.) is compressed; the page's security policy allows exactly this script
  async function loadPlotly() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(element("script", {}, await new Response(stream).text()));
  }
  let loading = null;

  const drawn = new Map(); // plots, each with its traces and layout

  async function draw(figure) {
    await (loading ??= loadPlotly());
    const { table, head, data, layout } = JSON.parse(figure.querySelector("script").textContent);
    const plot = figure.querySelector(".plot");
    const section = figure.closest("section");
    const tableNamed = (name) => section.querySelector(`table[data-name="${name ?? table}"]`);
    const traces = data.map((trace) => traceOf(trace, head, tableNamed));
    const entries = new Set(traces.filter((trace) => trace.showlegend !== false).map((trace) => trace.name)).size;
    if (plot.clientWidth < 600) plot.style.height = `${plot.clientHeight + 14 * entries}px`; // for the legend's lines
    drawn.set(plot, { traces, layout });
    const name = (figure.querySelector("figcaption b").textContent || "chart").replace(/\W+/g, "-").toLowerCase();
    await Plotly.newPlot(plot, traces, { ...layout, template: look() }, {
      showSendToCloud: false, plotlyServerURL: "", displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { filename: name, scale: 2 },
    });
  }

  function redraw() {
    for (const [plot, { traces, layout }] of drawn) Plotly.react(plot, traces, { ...layout, template: look() });
  }

  // ---- models: one at a time where there are many

  function choose(section) {
    for (const each of document.querySelectorAll(".models .chosen")) each.classList.remove("chosen");
    section.classList.add("chosen");
    section.querySelectorAll("table").forEach(setUpTable);
  }

  function setUpModels(models) {
    const select = models.querySelector("select");
    const sections = new Map([...models.querySelectorAll("section")].map((section) => [section.id, section]));
    const follow = () => {
      const id = decodeURIComponent(location.hash.slice(1));
      if (!sections.has(id)) return;
      select.value = id;
      choose(sections.get(id));
      sections.get(id).scrollIntoView();
    };
    select.addEventListener("change", () => choose(sections.get(select.value)));
    addEventListener("hashchange", follow);
    choose(sections.get(select.value));
    follow();
  }

  document.querySelectorAll("table").forEach((table) => {
    if (!table.closest(".models.many")) setUpTable(table);
  });
  document.querySelectorAll(".models.many").forEach(setUpModels);

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "300px" });
  document.querySelectorAll("figure.chart").forEach((figure) => observer.observe(figure));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    for (const [table, state] of tables) {
      state.most = Infinity;
      show(table);
    }
  });
})();
