// Draws the extension's icon as a PNG: rows of a table, and the curve of their exposure.
import { deflateSync } from "node:zlib";

const SAMPLES = 4;
const GROUND = [24, 34, 52];
const ROW = [74, 98, 138];
const CURVE = [255, 176, 59];

/** A square PNG of `size` pixels. */
export function icon(size) {
  const rows = [];
  for (let y = 0; y < size; y += 1) {
    const row = Buffer.alloc(1 + 4 * size);
    for (let x = 0; x < size; x += 1) {
      row.set(pixel(x, y, size), 1 + 4 * x);
    }
    rows.push(row);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 6], 8); // eight bits a channel, with alpha
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.concat(rows), { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** The mean colour of a pixel's samples. */
function pixel(x, y, size) {
  const sum = [0, 0, 0, 0];
  for (let i = 0; i < SAMPLES * SAMPLES; i += 1) {
    const u = (x + ((i % SAMPLES) + 0.5) / SAMPLES) / size;
    const v = (y + (Math.floor(i / SAMPLES) + 0.5) / SAMPLES) / size;
    const colour = at(u, v);
    if (colour !== undefined) {
      colour.forEach((value, channel) => (sum[channel] += value));
      sum[3] += 255;
    }
  }
  const covered = sum[3] / 255;
  const mean = (channel) => (covered === 0 ? 0 : Math.round(sum[channel] / covered));
  return [mean(0), mean(1), mean(2), Math.round(sum[3] / SAMPLES ** 2)];
}

/** The colour at a place of the unit square; nothing outside the rounded ground. */
function at(u, v) {
  if (!inRounded(u, v, 0, 0, 1, 1, 0.18)) {
    return undefined;
  }
  if (nearCurve(u, v)) {
    return CURVE;
  }
  for (let row = 0; row < 4; row += 1) {
    const top = 0.17 + row * 0.18;
    if (inRounded(u, v, 0.16, top, 0.84, top + 0.11, 0.03)) {
      return ROW;
    }
  }
  return GROUND;
}

function inRounded(u, v, left, top, right, bottom, radius) {
  const du = Math.max(left + radius - u, u - right + radius, 0);
  const dv = Math.max(top + radius - v, v - bottom + radius, 0);
  return Math.hypot(du, dv) <= radius;
}

/** A Lorenz curve from the lower left to the upper right. */
function nearCurve(u, v) {
  let nearest = Infinity;
  for (let i = 0; i <= 60; i += 1) {
    const t = i / 60;
    nearest = Math.min(nearest, Math.hypot(u - (0.16 + 0.68 * t), v - (0.83 - 0.66 * t ** 3.2)));
  }
  return nearest <= 0.042;
}

function chunk(type, content) {
  const named = Buffer.concat([Buffer.from(type, "latin1"), content]);
  const whole = Buffer.alloc(named.length + 8);
  whole.writeUInt32BE(content.length, 0);
  named.copy(whole, 4);
  whole.writeUInt32BE(checksum(named), named.length + 4);
  return whole;
}

function checksum(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) {
      sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
  }
  return (sum ^ 0xffffffff) >>> 0;
}
