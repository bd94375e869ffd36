// Tables that one can sort and filter. Numbers are compared digit by digit, never as floats.
"use strict";

(() => {
  const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?$/;
  const byWords = new Intl.Collator("en", { numeric: true }).compare;

  // what a cell is sorted by: its data-v where it has one (the plain number, or empty where nothing is known)
  const textOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v ?? cell.textContent.trim();
  };

  const numberOf = (text) => {
    const found = DECIMAL.exec(text);
    return found && { sign: found[1], whole: found[2], part: found[3] ?? "" };
  };

  // all numbers of a column as whole numbers of its smallest unit
  const keysOf = (rows, column, isNumber) => {
    const texts = rows.map((row) => textOf(row, column));
    if (!isNumber) return texts.map((text) => text || null);
    const numbers = texts.map(numberOf);
    const places = Math.max(0, ...numbers.map((number) => (number ? number.part.length : 0)));
    return numbers.map((n) => n && BigInt(n.sign + n.whole + n.part.padEnd(places, "0")));
  };

  const compare = (a, b, isNumber, down) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is not known is last, either way
    const order = isNumber ? (a > b) - (a < b) : byWords(a, b);
    return down ? -order : order;
  };

  const sort = (table, head) => {
    const column = head.cellIndex;
    const isNumber = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const down = before === null ? isNumber : before === "ascending"; // the largest number first
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const keys = keysOf(rows, column, isNumber);
    const order = rows.map((_, place) => place);
    order.sort((a, b) => compare(keys[a], keys[b], isNumber, down) || a - b);
    body.append(...order.map((place) => rows[place]));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };

  const filter = (table, input, told) => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    told.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
    const input = document.querySelector(`input[data-filters="${table.id}"]`);
    if (!input) continue;
    const told = input.parentElement.querySelector("output");
    input.parentElement.hidden = false;
    input.addEventListener("input", () => filter(table, input, told));
  }
})();
