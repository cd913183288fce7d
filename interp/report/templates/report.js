(function () {
  "use strict";
  // Named one by one: the stock toolbar has a button that uploads the figure.
  var settings = {displaylogo: false, displayModeBar: "hover", modeBarButtons: [["toImage", "resetScale2d"]]};
  function inflate(id) {
    var bytes = Uint8Array.from(atob(document.getElementById(id).textContent), function (c) { return c.charCodeAt(0); });
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  function draw() {
    var places = Array.from(document.querySelectorAll(".plot[data-figure]"));
    if (!places.length || typeof DecompressionStream === "undefined") { return; }
    Promise.all([inflate("packed-plotly"), inflate("packed-figures")]).then(function (texts) {
      var script = document.createElement("script"), figures = JSON.parse(texts[1]);
      script.textContent = texts[0];
      document.head.appendChild(script);
      return places.reduce(function (before, place) {
        return before.then(function () {
          var figure = figures[place.dataset.figure];
          place.textContent = "";
          return window.Plotly.newPlot(place, figure.data, figure.layout, settings);
        });
      }, Promise.resolve());
    }).then(function () { document.documentElement.dataset.drawn = "yes"; });
  }
  function copying() {
    document.querySelectorAll("button[data-copy]").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () {
        var text = document.getElementById(button.dataset.copy), range = document.createRange();
        range.selectNodeContents(text);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        var copied = document.execCommand("copy");
        document.getElementById("copied").textContent = copied ? "copied" : "selected; copy it with the keyboard";
        button.textContent = copied ? "copied" : "selected";
        setTimeout(function () { button.textContent = "copy"; }, 2000);
      });
    });
  }
  function outputs() {
    var table = document.getElementById("outputs-table");
    if (!table) { return; }
    var body = table.tBodies[0];
    var heads = Array.from(table.tHead.rows[0].cells), rows = Array.from(body.rows);
    var search = document.getElementById("search"), count = document.getElementById("count");
    var selects = Array.from(document.querySelectorAll(".tools select"));
    document.querySelector(".tools").hidden = false;
    heads.forEach(function (head, i) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(function (h) { h.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        rows.sort(function (a, b) {
          var order = a.cells[i].textContent.localeCompare(b.cells[i].textContent, undefined, {numeric: true});
          return up ? order : -order;
        });
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
    function filter() {
      var words = search.value.toLowerCase(), shown = 0;
      rows.forEach(function (row) {
        var keep = row.textContent.toLowerCase().indexOf(words) >= 0 && selects.every(function (s) {
          return !s.value || row.cells[Number(s.dataset.column)].textContent === s.value;
        });
        row.hidden = !keep;
        shown += keep ? 1 : 0;
      });
      count.textContent = shown + " of " + rows.length + " outputs";
    }
    search.addEventListener("input", filter);
    selects.forEach(function (s) { s.addEventListener("change", filter); });
    filter();
  }
  outputs();
  copying();
  draw();
})();
