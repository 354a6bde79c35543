"use strict";

// One group of players is one moment heard through several sounds: they share the position, one
// of them is chosen, and switching goes on from where the other was. In the whole page at most
// one sound plays. Without this script the browser's own controls are shown instead.

const STEP = 2;  // seconds back or on with an arrow key

let audible = null;  // the audio element that plays
let current = null;  // the group that was used last: keys go there unless another has the focus

class Players {
  constructor(figure) {
    this.figure = figure;
    this.cards = [...figure.querySelectorAll(".player")].map((card) => ({
      card,
      button: card.querySelector(".play"),
      seek: card.querySelector(".seek"),
      time: card.querySelector(".time"),
      audio: card.querySelector("audio"),
    }));
    this.chosen = this.cards[0];
    this.duration = Number(this.chosen.seek.max);  // of the longest sound
    this.position = 0;  // seconds

    for (const sound of this.cards) {
      sound.total = sound.time.textContent.split(" / ")[1];
      sound.audio.removeAttribute("controls");
      for (const event of ["play", "pause", "ended"]) {
        sound.audio.addEventListener(event, () => this.follow());
      }
      sound.button.addEventListener("click", () => {
        if (sound === this.chosen && this.playing) this.pause();
        else this.play(sound);
      });
      sound.seek.addEventListener("input", () => this.moveTo(Number(sound.seek.value)));
      // On some phones a touch beside the thumb does not move a slider.
      sound.seek.addEventListener("pointerdown", (event) => {
        const box = sound.seek.getBoundingClientRect();
        this.moveTo(this.duration * (event.clientX - box.left) / box.width);
        this.choose(sound);
      });
    }
    this.draw();
  }

  get playing() {
    return audible !== null && audible === this.chosen.audio && !audible.paused;
  }

  // Hear another sound of the group from the same moment on; silently, if nothing is playing.
  choose(sound) {
    if (sound === this.chosen) return;
    if (this.playing) {
      this.play(sound);
    } else {
      this.chosen = sound;
      sound.audio.currentTime = this.position;
      this.draw();
    }
  }

  play(sound) {
    if (this.playing) this.position = this.chosen.audio.currentTime;
    const atEnd = this.position >= sound.audio.duration - 0.01;
    this.chosen = sound;
    current = this;
    audible = sound.audio;
    sound.audio.currentTime = atEnd ? 0 : this.position;
    // The previous sound goes on until this one is heard, so that there is no hole between them.
    sound.audio.play().then(silenceOthers, silenceOthers);
  }

  pause() {
    this.chosen.audio.pause();
  }

  moveTo(seconds) {
    this.position = Math.min(Math.max(seconds, 0), this.duration);
    this.chosen.audio.currentTime = this.position;
    this.draw();
  }

  // Take the position over from the sound; while it plays, once per frame of the screen.
  follow() {
    this.position = this.chosen.audio.currentTime;
    this.draw();
    cancelAnimationFrame(this.frame);
    if (this.playing) this.frame = requestAnimationFrame(() => this.follow());
  }

  draw() {
    this.figure.style.setProperty("--progress", this.position / this.duration);
    const now = clock(this.position);
    for (const sound of this.cards) {
      const chosen = sound === this.chosen;
      sound.card.classList.toggle("chosen", chosen && current === this);
      sound.button.setAttribute("aria-pressed", String(chosen && this.playing));
      sound.seek.value = this.position;
      sound.seek.setAttribute("aria-valuetext", `${now} of ${sound.total}`);
      sound.time.textContent = `${now} / ${sound.total}`;
    }
  }
}

function silenceOthers() {
  for (const audio of document.querySelectorAll("audio")) {
    if (audio !== audible && !audio.paused) audio.pause();
  }
  for (const group of groups) group.draw();
}

function clock(seconds) {  // 67.4 -> "1:07.4"
  const tenths = Math.round(10 * seconds);
  const rest = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${rest}.${tenths % 10}`;
}

// Keys go to the group that has the focus; with the focus nowhere, to the one used last.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const figure = event.target.closest(".players");
  const nowhere = event.target === document.body;
  const group = figure ? groups.find((one) => one.figure === figure) : nowhere ? current : null;
  if (!group) return;

  const sound = group.cards[Number(event.key) - 1];
  if (sound) {
    current = group;
    group.choose(sound);
    group.draw();
    if (event.target.matches("button")) sound.button.focus();  // space will press this one now
  } else if (event.key === " ") {
    if (event.target.matches("button")) return;  // the button is pressed by the browser
    if (group.playing) group.pause();
    else group.play(group.chosen);
  } else if (event.key === "ArrowLeft") {
    group.moveTo(group.position - STEP);
  } else if (event.key === "ArrowRight") {
    group.moveTo(group.position + STEP);
  } else {
    return;
  }
  event.preventDefault();
}

// What is wider than its card can be scrolled with the arrow keys, so Tab must lead to it.
function markScrollable() {
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

const groups = [...document.querySelectorAll(".players")].map((figure) => new Players(figure));
document.addEventListener("keydown", onKey);
window.addEventListener("resize", markScrollable);
window.addEventListener("load", markScrollable);
