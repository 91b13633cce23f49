"use strict";
// Sorts and filters the table of videos.
(() => {
  const table = document.querySelector("table.videos");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const text = row.cells[column].dataset.key ?? row.cells[column].textContent;
    return heads[column].dataset.kind === "number" ? (text === "" ? NaN : Number(text)) : text;
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((one, two) => {
        const [a, b] = [key(one, column), key(two, column)];
        const blank = Number(Number.isNaN(a)) - Number(Number.isNaN(b)); // what is unknown goes last
        return blank || (up ? 1 : -1) * compare(a, b);
      });
      body.append(...rows);
    });
  });
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  });
})();
