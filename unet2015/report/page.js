"use strict";
// Each viewer shows one of its pictures; zoom and position are the viewBox of that picture.
const LARGEST_ZOOM = 40;

function viewer(root) {
  const stage = root.querySelector(".stage");
  const drawings = [...stage.querySelectorAll(":scope > svg")];
  const captions = [...root.querySelectorAll(".caption")];
  const choice = root.querySelector("select");
  let current = 0, zoom = 1, x = 0, y = 0; // x, y: centre as shares of the picture

  const size = () => [Number(drawings[current].dataset.width), Number(drawings[current].dataset.height)];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function look(newZoom, newX, newY) {
    zoom = clamp(newZoom, 1, LARGEST_ZOOM);
    const half = 0.5 / zoom, [width, height] = size();
    x = clamp(newX, half, 1 - half);
    y = clamp(newY, half, 1 - half);
    drawings[current].setAttribute("viewBox",
      [(x - half) * width, (y - half) * height, width / zoom, height / zoom].join(" "));
    stage.classList.toggle("zoomed", zoom > 1);
  }

  function show(number) {
    current = (number + drawings.length) % drawings.length;
    drawings.forEach((drawing, at) => drawing.classList.toggle("away", at !== current));
    captions.forEach((caption, at) => { caption.hidden = at !== current; });
    if (choice) choice.value = String(current);
    look(zoom, x, y);
  }

  function toggle(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    root.classList.toggle("off-" + button.dataset.layer, !shown);
  }

  // Width and height of the picture on the screen: it keeps its proportions, the stage may be larger.
  function onScreen(box) {
    const [width, height] = size(), scale = Math.min(box.width / width, box.height / height);
    return [width * scale, height * scale];
  }

  // Zoom so that the point under the mouse stays in place.
  function zoomAt(factor, clientX, clientY) {
    const box = stage.getBoundingClientRect(), [width, height] = onScreen(box);
    const dx = (clientX - box.left - box.width / 2) / width / zoom;
    const dy = (clientY - box.top - box.height / 2) / height / zoom;
    const next = clamp(zoom * factor, 1, LARGEST_ZOOM), kept = 1 - zoom / next;
    look(next, x + dx * kept, y + dy * kept);
  }

  const move = (dx, dy) => look(zoom, x + dx / zoom, y + dy / zoom);
  const actions = {
    in: () => look(zoom * 1.5, x, y),
    out: () => look(zoom / 1.5, x, y),
    fit: () => look(1, 0.5, 0.5),
    next: () => show(current + 1),
    previous: () => show(current - 1),
  };
  const keys = {
    "+": actions.in, "=": actions.in, "-": actions.out, "0": actions.fit,
    ArrowLeft: () => move(-0.15, 0), ArrowRight: () => move(0.15, 0),
    ArrowUp: () => move(0, -0.15), ArrowDown: () => move(0, 0.15),
  };
  if (drawings.length > 1) Object.assign(keys, { n: actions.next, p: actions.previous });
  for (const button of root.querySelectorAll("[data-layer]")) {
    button.addEventListener("click", () => toggle(button));
    keys[button.getAttribute("aria-keyshortcuts")] = () => toggle(button);
  }
  for (const button of root.querySelectorAll("[data-action]")) {
    button.addEventListener("click", actions[button.dataset.action]);
  }
  if (choice) choice.addEventListener("change", () => show(Number(choice.value)));

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
    if (event.key.startsWith("Arrow") && zoom === 1) return; // then they scroll the page
    event.preventDefault();
    keys[event.key]();
  });
  // Without focus the wheel scrolls the page, so that nobody gets stuck in a picture.
  stage.addEventListener("wheel", (event) => {
    if (document.activeElement !== stage && !event.ctrlKey) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }, { passive: false });

  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    fingers.set(event.pointerId, event);
    if (event.pointerType !== "mouse" && fingers.size === 1 && zoom === 1) return;
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [width, height] = onScreen(stage.getBoundingClientRect());
    const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    if (other) {
      const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      zoomAt(apart(event) / Math.max(apart(before), 1),
        (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
    }
    const share = other ? 0.5 : 1; // two fingers move the picture as far as their midpoint moves
    move(-share * (event.clientX - before.clientX) / width,
      -share * (event.clientY - before.clientY) / height);
    fingers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }

  look(1, 0.5, 0.5);
  return {
    // Show a box of a picture, or all of it.
    present(number, box) {
      show(number);
      const [fullWidth, fullHeight] = size();
      const [left, top, width, height] = box || [0, 0, fullWidth, fullHeight];
      look(Math.min(fullWidth / width, fullHeight / height),
        (left + width / 2) / fullWidth, (top + height / 2) / fullHeight);
      stage.focus({ preventScroll: true });
      root.scrollIntoView({ block: "start" });
    },
  };
}

const viewers = {};
for (const root of document.querySelectorAll(".viewer")) viewers[root.id] = viewer(root);
for (const button of document.querySelectorAll("[data-frame]")) {
  button.addEventListener("click", () => {
    const box = button.dataset.box;
    viewers.frames.present(Number(button.dataset.frame), box && box.split(" ").map(Number));
  });
}
