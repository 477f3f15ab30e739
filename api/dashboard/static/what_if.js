// The price editor: a slider and the field beside it say the same. What is sent is the field, as text.
"use strict";
(() => {
  const decimals = (step) => Math.min((step.split(".")[1] || "").length, 12);
  for (const slider of document.querySelectorAll("input[data-turns]")) {
    const field = document.getElementById(slider.dataset.turns);
    const digits = decimals(slider.dataset.step), step = Number(slider.dataset.step);
    slider.addEventListener("input", () => {
      field.value = (Math.round(Number(slider.value) / step) * step).toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    });
    field.addEventListener("input", () => { slider.value = field.value; });
  }
  // A download is a plain form: the browser saves it, the page stays.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-plain]");
    if (!button) return;
    event.preventDefault();
    const form = button.form, action = form.action;
    form.action = button.formAction;
    form.submit();
    form.action = action;
  });
})();
