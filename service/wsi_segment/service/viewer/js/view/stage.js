/**
 * The slide on the screen: OpenSeadragon, in the terms of the slide (level-0 pixels), and layers that follow it.
 * @module
 */

import { h } from "../lib/dom.js";
import { address, server } from "../server/api.js";
import { drawers } from "./drawers.js";

/** @typedef {import("../server/types.js").Slide} Slide */

/**
 * @typedef {object} Place what the screen shows, in level-0 pixels
 * @property {number} x0
 * @property {number} y0
 * @property {number} width
 * @property {number} height
 * @property {number} scale level-0 pixels per CSS pixel
 */

/**
 * Return whether the screen shows the same.
 * @param {Place} a
 * @param {Place} b
 */
export function samePlace(a, b) {
  return a.x0 === b.x0 && a.y0 === b.y0 && a.scale === b.scale && a.width === b.width && a.height === b.height;
}

const TILE = 256;
const CLOSEST = 16;
/** CSS pixels that a level-0 pixel may be wide. */

/**
 * Return a Deep Zoom source for a slide, or an empty one of its size where the slide is not there.
 * @param {{width: number, height: number}} size
 * @param {Slide|null} slide
 */
export function tileSourceOf(size, slide) {
  const finest = slide ? slide.levels.length - 1 : 0;
  return {
    width: size.width,
    height: size.height,
    tileSize: TILE,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: finest,
    getTileUrl: (/** @type {number} */ level, /** @type {number} */ x, /** @type {number} */ y) =>
      slide ? address(`/v1/slides/${slide.id}/tiles/${finest - level}/${x}/${y}.jpg`) : "",
    tileExists: () => slide !== null,
  };
}

/**
 * Keep OpenSeadragon from adding its one inline style, which the page's policy refuses: it looks for an element of this
 * name first. The style hides focus rings on touch screens, and this page shows them.
 */
function standInForInlineStyle() {
  const name = "data-openseadragon-mobile-css";
  if (document.head.querySelector(`[${name}]`)) return;
  const element = document.createElementNS("urn:wsi-segment", "style");
  element.setAttribute(name, "");
  document.head.append(element);
}

export class Stage extends EventTarget {
  /**
   * Tells of `moved` when the view has come to rest, of `tile` for each that comes, and of `slide-complete` when all that
   * the view needs are there.
   * @param {HTMLElement} parent
   * @param {{width: number, height: number}} size of the slide in level-0 pixels
   * @param {Slide|null} slide
   * @param {{navigator?: boolean, name?: string, keepScale?: boolean, at?: [number, number, number]|null}} [options]
   *   `name`: for screen readers; `keepScale`: when its place on the page changes its size, rather than what is seen;
   *   `at`: what {@link show} is to show first, rather than the whole slide
   */
  constructor(parent, size, slide, options = {}) {
    super();
    this.size = size;
    this.element = h("div", { class: "stage" });
    parent.append(this.element);
    standInForInlineStyle();
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.viewer = OpenSeadragon({
      element: this.element,
      tileSources: /** @type {any} */ (tileSourceOf(size, slide)),
      drawer: drawers(),
      showNavigationControl: false,
      showNavigator: options.navigator ?? true,
      navigatorPosition: "TOP_RIGHT",
      navigatorSizeRatio: 0.16,
      navigatorMaintainSizeRatio: true,
      navigatorAutoFade: false,
      animationTime: still ? 0 : 0.5,
      blendTime: 0,
      visibilityRatio: 0.3,
      preserveImageSizeOnResize: options.keepScale ?? false,
      minZoomImageRatio: 0.6,
      maxZoomPixelRatio: CLOSEST,
      keyboardNavEnabled: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      maxTilesPerFrame: 8, // one, as by default, has tiles wait for frames where a processor draws
      timeout: 120_000,
      tileRetryMax: 3,
      tileRetryDelay: 1500,
      crossOriginPolicy: false,
    });
    this.viewer.canvas.setAttribute("aria-label", options.name ?? "Slide");
    this.viewer.canvas.setAttribute("role", "application");
    this.viewer.addHandler("animation-finish", () => this.dispatchEvent(new Event("moved")));
    this.viewer.addHandler("resize", () => this.dispatchEvent(new Event("moved")));
    this.at = options.at ?? null;
    this.open = false;
    this.opened = new Promise((resolve) => this.viewer.addOnceHandler("open", () => resolve(undefined)));
    void this.opened.then(() => this.begin());
    this.onBack = () => this.reload();
    server.addEventListener("back", this.onBack);
    /** Tiles of the slide that could not be fetched since the last reload. */
    this.failed = 0;
    this.viewer.addHandler("tile-loaded", () => this.dispatchEvent(new Event("tile")));
    this.viewer.addHandler("tile-load-failed", () => {
      this.failed += 1;
      server.dispatchEvent(new Event("lost")); // perhaps: with the mask at hand, nothing else asks the server
    });
  }

  /** Device pixels per CSS pixel. */
  get ratio() {
    return window.devicePixelRatio || 1;
  }

  /** Whether all tiles of the slide that the view needs are there. */
  get complete() {
    return Boolean(this.viewer.world.getItemAt(0)?.getFullyLoaded());
  }

  begin() {
    this.open = true;
    if (this.at) this.show(...this.at, true);
    this.watchTiles();
  }

  watchTiles() {
    const image = this.viewer.world.getItemAt(0);
    image?.addHandler("fully-loaded-change", () => {
      if (this.complete) this.dispatchEvent(new Event("slide-complete"));
    });
    if (this.complete) this.dispatchEvent(new Event("slide-complete"));
  }

  /** Fetch again what failed while the server was away. */
  reload() {
    if (this.failed === 0) return;
    this.failed = 0;
    this.viewer.world.resetItems();
    this.viewer.forceRedraw();
  }

  /**
   * Call something with every frame that is drawn.
   * @param {() => void} action
   * @returns {() => void}
   */
  onDraw(action) {
    this.viewer.addHandler("update-viewport", action);
    return () => this.viewer.removeHandler("update-viewport", action);
  }

  /**
   * Put a canvas or an element over the slide; it lets the pointer through.
   * @param {HTMLElement|SVGElement} element
   */
  addLayer(element) {
    this.viewer.canvas.append(element);
  }

  /**
   * Return what the screen shows now, in the middle of an animation too; and before the slide is open, what it will show.
   * @returns {Place}
   */
  place() {
    return this.open ? this.placeOf(this.viewer.viewport.getBounds(true)) : this.firstPlace();
  }

  /** @returns {Place} */
  firstPlace() {
    const across = this.element.clientWidth || 1;
    const down = this.element.clientHeight || 1;
    const whole = [this.size.width / 2, this.size.height / 2, Math.max(this.size.width / across, this.size.height / down)];
    const [x = 0, y = 0, scale = 1] = this.at ?? whole;
    return { x0: x - (scale * across) / 2, y0: y - (scale * down) / 2, width: scale * across, height: scale * down, scale };
  }

  /**
   * Return what the screen will show when the animation ends.
   * @returns {Place}
   */
  target() {
    return this.placeOf(this.viewer.viewport.getBounds(false));
  }

  /**
   * @param {OpenSeadragon.Rect} bounds of the viewport, in widths of the slide
   * @returns {Place}
   */
  placeOf(bounds) {
    const across = this.viewer.viewport.getContainerSize().x || 1;
    const width = bounds.width * this.size.width;
    return {
      x0: bounds.x * this.size.width,
      y0: bounds.y * this.size.width,
      width,
      height: bounds.height * this.size.width,
      scale: width / across,
    };
  }

  /**
   * Show a point in the middle at a scale.
   * @param {number} x in level-0 pixels
   * @param {number} y
   * @param {number} scale level-0 pixels per CSS pixel
   * @param {boolean} [at_once]
   */
  show(x, y, scale, at_once = false) {
    const { viewport } = this.viewer;
    const across = viewport.getContainerSize().x;
    viewport.zoomTo(this.size.width / (scale * across), undefined, at_once);
    viewport.panTo(new OpenSeadragon.Point(x / this.size.width, y / this.size.width), at_once);
    if (at_once) {
      viewport.applyConstraints(true);
      this.viewer.forceRedraw();
      this.dispatchEvent(new Event("moved"));
    } else viewport.applyConstraints();
  }

  /**
   * Show a box with some room around it.
   * @param {readonly number[]} box x0, y0, x1, y1 in level-0 pixels
   * @param {boolean} [at_once]
   */
  fit([x0 = 0, y0 = 0, x1 = 1, y1 = 1], at_once = false) {
    const width = this.size.width;
    const room = 0.1 * Math.max(x1 - x0, y1 - y0, 32);
    const box = new OpenSeadragon.Rect((x0 - room) / width, (y0 - room) / width, (x1 - x0 + 2 * room) / width, (y1 - y0 + 2 * room) / width);
    this.viewer.viewport.fitBoundsWithConstraints(box, at_once);
  }

  /** Let keys go to the slide and to no button. */
  focus() {
    this.viewer.canvas.focus({ preventScroll: true });
  }

  /** Show the whole slide. */
  home() {
    this.viewer.viewport.goHome();
  }

  /**
   * @param {number} factor above 1 zooms in
   * @param {{x: number, y: number}} [point] of the slide that stays where it is on the screen, in level-0 pixels; else the middle
   */
  zoomBy(factor, point) {
    this.viewer.viewport.zoomBy(factor, point && new OpenSeadragon.Point(point.x / this.size.width, point.y / this.size.width));
    this.viewer.viewport.applyConstraints();
  }

  /**
   * Move by parts of the screen.
   * @param {number} right
   * @param {number} down
   */
  pan(right, down) {
    const bounds = this.viewer.viewport.getBounds(false);
    this.viewer.viewport.panBy(new OpenSeadragon.Point(right * bounds.width, down * bounds.height));
    this.viewer.viewport.applyConstraints();
  }

  /**
   * Return the point of the slide under a point of the screen.
   * @param {{x: number, y: number}} pixel from the corner of the stage, in CSS pixels
   */
  toSlide(pixel) {
    const place = this.place();
    return { x: place.x0 + pixel.x * place.scale, y: place.y0 + pixel.y * place.scale };
  }

  /**
   * Return where a point of the slide is on the screen.
   * @param {{x: number, y: number}} point in level-0 pixels
   */
  toScreen(point) {
    const place = this.place();
    return { x: (point.x - place.x0) / place.scale, y: (point.y - place.y0) / place.scale };
  }

  close() {
    server.removeEventListener("back", this.onBack);
    this.element.remove();
    if (this.open) this.viewer.destroy();
    else void this.opened.then(() => this.viewer.destroy()); // not while it opens
  }
}
