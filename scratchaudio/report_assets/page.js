"use strict";

// One group of players is one moment heard through several sounds: they share the position, one
// of them is chosen, and switching goes on from where the other was. A group may have a slider over
// levels; then a sound has a take for each of them (or one for all), and moving the slider switches
// to the take of the new level, by the same code. In the whole page at most one sound is heard.
// Without this script the browser's own controls are shown instead.

const STEP = 2;  // seconds back or on with an arrow key
const STARTED = 0.06;  // seconds: a sound that came so far runs; at first its clock may stand still
const INAUDIBLE = 1e-4;  // not 0: browsers run such sounds in another way, and stumble when it ends

let audible = null;  // the audio element that was last told to play
let heard = null;  // the one that is heard: the same, but for the moment that it takes to start
let lead = 0.12;  // seconds that this moment lasts; measured again at each switch
let current = null;  // the group that was used last: keys go there unless another has the focus

class Players {
  constructor(figure) {
    this.figure = figure;
    this.cards = [...figure.querySelectorAll(".player")].map((card) => ({
      card,
      button: card.querySelector(".play"),
      seek: card.querySelector(".seek"),
      time: card.querySelector(".time"),
      takes: [...card.querySelectorAll("audio")],
    }));
    this.chosen = this.cards[0];
    this.level = 0;
    this.duration = Number(this.chosen.seek.max);  // of the longest sound
    this.position = 0;  // seconds

    for (const sound of this.cards) {
      sound.total = sound.time.textContent.split(" / ")[1];
      for (const audio of sound.takes) {
        audio.removeAttribute("controls");
        for (const event of ["play", "pause", "ended"]) {
          audio.addEventListener(event, () => this.follow());
        }
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
    this.slider = figure.querySelector(".level input");
    if (this.slider) this.connectSlider();
    this.draw();
  }

  connectSlider() {
    this.ticks = [...this.figure.querySelectorAll(".ticks span")];
    this.output = this.figure.querySelector("output");
    this.slider.addEventListener("input", () => {
      current = this;
      this.choose(this.chosen, Number(this.slider.value));
    });
    this.ticks.forEach((tick, level) => tick.addEventListener("click", () => {
      current = this;
      this.choose(this.chosen, level);
    }));
    this.figure.classList.add("live");
    this.level = Number(this.slider.value);
    this.drawLevel();
    this.prepare();
  }

  // The take that is to be heard.
  get audio() {
    const { takes } = this.chosen;
    return takes[this.level] ?? takes[0];
  }

  get playing() {
    return audible !== null && audible === this.audio && !audible.paused;
  }

  // The sound of this group that is heard now: for a moment after a switch still the one before.
  get goingOn() {
    return heard && !heard.paused && this.figure.contains(heard) ? heard : null;
  }

  // Hear another sound or level of the group from the same moment on; silently, if nothing plays.
  choose(sound, level = this.level) {
    const before = this.audio;
    const playing = this.playing;
    if (playing) this.position = (this.goingOn ?? before).currentTime;
    this.chosen = sound;
    if (level !== this.level) {
      this.level = level;
      this.drawLevel();
    }
    if (this.audio !== before) {
      if (playing) this.start();
      else this.audio.currentTime = this.position;
      this.prepare();
    }
    this.draw();
  }

  play(sound) {
    this.choose(sound);
    if (!this.playing) this.start();
  }

  // What is heard goes on until the new sound runs, so that there is no hole between them; and the
  // new one starts as far ahead as the old one will have come by then.
  start() {
    const audio = this.audio;
    const follows = this.goingOn;
    current = this;
    audible = audio;
    if (audio === follows) return takeOver(audio);  // back again, before another was heard
    const atEnd = this.position >= audio.duration - 0.01;
    const from = atEnd ? 0 : this.position + (follows ? lead : 0);
    audio.currentTime = from;
    audio.volume = follows ? INAUDIBLE : 1;
    const moved = () => Math.abs(audio.currentTime - from) > STARTED;  // by itself, or to seek
    const runs = () => !this.goingOn || audio.paused || moved();
    const wait = () => {
      if (audio !== audible || runs()) takeOver(audio);
      else setTimeout(wait, 5);
    };
    audio.play().then(wait, wait);
  }

  pause() {
    this.audio.pause();
  }

  moveTo(seconds) {
    this.position = Math.min(Math.max(seconds, 0), this.duration);
    this.audio.currentTime = this.position;
    this.draw();
  }

  // Take the position over from the sound; while it plays, once per frame of the screen.
  follow() {
    this.position = this.audio.currentTime;
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

  // Show what belongs to the level, and nothing of the others.
  drawLevel() {
    const text = this.ticks[this.level].dataset.text;
    this.slider.value = this.level;
    this.slider.setAttribute("aria-valuetext", text);
    this.slider.style.setProperty("--share", this.level / (this.ticks.length - 1));
    this.output.textContent = text;
    this.ticks.forEach((tick, level) => tick.classList.toggle("here", level === this.level));
    for (const part of this.figure.querySelectorAll("[data-level]")) {
      part.toggleAttribute("hidden", Number(part.dataset.level) !== this.level);
    }
    markScrollable();
  }

  // Load what the slider may come to next, and no more: phones allow few players at a time.
  prepare() {
    const { takes } = this.chosen;
    for (const audio of takes.slice(Math.max(this.level - 1, 0), this.level + 2)) {
      audio.preload = "auto";
    }
  }
}

// A sound has begun, or was not allowed to. Only the last one that was asked for may stay.
function takeOver(audio) {
  if (audio !== audible) return;
  const group = groups.find((one) => one.figure.contains(audio));
  const before = group.goingOn;
  if (before && before !== audio && !audio.paused) {  // how far is it behind? next time start ahead
    lead = Math.min(Math.max(lead + before.currentTime - audio.currentTime, 0), 0.5);
  }
  heard = audio;
  audio.volume = 1;
  for (const other of document.querySelectorAll("audio")) {
    if (other !== audio && !other.paused) other.pause();
  }
  for (const one of groups) one.draw();
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

  if (event.target === group.slider && event.key.startsWith("Arrow")) return;  // moves the level

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
