"use strict";
// A picture grows where it is clicked.
for (const image of document.querySelectorAll("figure img")) {
  image.addEventListener("click", () => image.closest("figure").classList.toggle("large"));
}
