// SPDX-License-Identifier: GPL-2.0
// Steps through RUN: {heading, steps: [{at, name, world, title, text, event, sources}], sources: [html]}.
"use strict";

const WORLDS = [["guest", "guest", "rings 3 and 1"], ["module", "ringlet.ko", "ring 0"], ["launcher", "launcher", "ring 3 of the host"]];
const LANES = { exit: 0, enter: 0, hypercall: 1, notify: 1, fill: 2, flush: 2, cr3: 2, inject: 3, interrupt: 3, queue: 4 };
const LANE_NAMES = ["switches", "hypercalls", "shadow pages", "interrupts", "queues"];
const DEVICES = { 1: "net", 2: "block", 3: "console", 4: "entropy" };
const ROWS = 8;		// of a ring that are shown
const steps = RUN.steps;
let now = 0, timer = null;

const by = id => document.getElementById(id);

// Timeline

const LEFT = 96;
function drawTimeline() {
	const width = by("timeline").clientWidth || 640;
	const x = d3.scaleLinear([0, Math.max(1, steps.length - 1)], [LEFT, width - 8]);
	const svg = d3.select("#timeline").attr("viewBox", `0 0 ${width} 92`);
	svg.selectAll("*").remove();
	svg.selectAll("text").data(LANE_NAMES).join("text").attr("x", 0).attr("y", (_, n) => 14 + 17 * n).attr("class", "small").text(name => name);
	svg.selectAll("line").data(steps).join("line").attr("class", step => `mark ${step.name}`)
		.attr("x1", (_, n) => x(n)).attr("x2", (_, n) => x(n))
		.attr("y1", step => 4 + 17 * LANES[step.name]).attr("y2", step => 15 + 17 * LANES[step.name]);
	svg.append("line").attr("class", "cursor").attr("y1", 0).attr("y2", 92);
	svg.on("click", event => show(Math.round(x.invert(d3.pointer(event)[0]))));
	drawTimeline.x = x;
}

// Where the machine is

function drawWorlds(step, before) {
	const at = name => 20 + 210 * WORLDS.findIndex(world => world[0] === name);
	const svg = d3.select("#worlds");
	const world = svg.selectAll("g.world").data(WORLDS).join(enter => {
		const g = enter.append("g");
		g.append("rect").attr("width", 170).attr("height", 60).attr("rx", 6);
		g.append("text").attr("x", 12).attr("y", 26).text(d => d[1]);
		g.append("text").attr("x", 12).attr("y", 46).attr("class", "small").text(d => d[2]);
		return g;
	});
	world.attr("transform", d => `translate(${at(d[0])},50)`).attr("class", d => "world" + (d[0] === step.world ? " here" : ""));
	const from = step.name === "exit" ? "guest" : step.name === "enter" ? "module" : before ? before.world : step.world;
	const path = d3.line()([[at(from) + 85, 48], [at(from) + 85, 24], [at(step.world) + 85, 24], [at(step.world) + 85, 48]]);
	svg.selectAll("path").data(from === step.world ? [] : [path]).join("path").attr("class", "arrow").attr("d", d => d);
	svg.selectAll("circle").data(from === step.world ? [] : [0]).join("circle").attr("r", 4).attr("class", "exit")
		.attr("cx", at(step.world) + 85).attr("cy", 46);
}

// Shadow pages: what the fills and flushes up to a step leave

const hex = text => BigInt(text.startsWith("0x") ? text : "0x" + text);
const upper = gva => hex(gva) >> 63n;

function pagesAt(end) {
	const pages = new Map();
	for (const { name, event } of steps.slice(0, end + 1)) {
		for (const [key, page] of pages)
			if (page.gone)
				pages.delete(key);
			else
				page.now = false;
		if (name === "fill") {
			const key = (hex(event.gva) >> 12n).toString(16) + "000";
			pages.delete(key);
			pages.set(key, { gva: key, gpa: (hex(event.gpa) >> 12n).toString(16) + "000", level: event.level, now: true });
		} else if (name === "flush" || (name === "cr3" && event.cached === "0")) {
			const gva = name === "cr3" ? "0x0" : event.gva;
			for (const page of pages.values())
				page.gone = hex(gva) === 0n ? !upper(page.gva) : hex(gva) === 0xffffffffffffffffn ? true : hex(page.gva) >> 12n === hex(gva) >> 12n;
		}
	}
	return [...pages.values()].reverse();
}

function drawPages() {
	by("pages").hidden = !steps.some(step => step.name === "fill");
	d3.select("#pages tbody").selectAll("tr").data(pagesAt(now).slice(0, 10)).join("tr")
		.attr("class", page => page.gone ? "gone" : page.now ? "now" : "")
		.selectAll("td").data(page => [page.gva, page.gpa, page.level]).join("td").text(text => text);
}

// Rings: what the device saw and wrote up to a step

function queuesAt(end) {
	const queues = new Map();
	let last = null;
	for (const { name, event } of steps.slice(0, end + 1)) {
		if (name !== "queue")
			continue;
		const key = `${event.device}/${event.queue}`;
		if (!queues.has(key))
			queues.set(key, { event, descriptors: new Map(), available: new Map(), used: new Map() });
		const queue = queues.get(key);
		queue.event = event;
		queue.fresh = { step: event.step, descriptors: new Set(), index: Number(event.index) };
		if (event.step === "take") {
			queue.available.set(Number(event.index), event.head);
			for (const piece of event.chain.split(" ").filter(Boolean)) {
				const [number, rest] = piece.split(":");
				queue.descriptors.set(Number(number), rest);
				queue.fresh.descriptors.add(Number(number));
			}
		} else if (event.step === "fill") {
			queue.used.set(Number(event.index), `${event.head}, ${event.length}`);
		}
		last = key;
	}
	return queues.get(last);
}

function column(svg, name, x, width, title, rows) {
	const g = svg.selectAll(`g.${name}`).data([0]).join("g").attr("class", name).attr("transform", `translate(${x},0)`);
	g.selectAll("text.head").data([title]).join("text").attr("class", "head small").attr("y", 12).text(text => text);
	const row = g.selectAll("g").data(rows).join(enter => {
		const cell = enter.append("g");
		cell.append("rect");
		cell.append("text");
		return cell;
	}).attr("transform", (_, n) => `translate(0,${18 + 24 * n})`).attr("class", entry => entry.now ? "now" : "");
	row.select("rect").attr("width", width).attr("height", 22);
	row.select("text").attr("class", "mono").attr("x", 6).attr("y", 15).text(entry => entry.text);
}

function ringRows(entries, index, size, limit, fresh) {
	const first = Math.max(0, index - ROWS + 2);
	return d3.range(first, first + ROWS).map(n => ({ now: n === fresh,
		text: `[${n % size}] ${n < limit ? entries.get(n) ?? "…" : "-"}` }));
}

function drawRings() {
	const queue = queuesAt(now);
	by("rings").hidden = !queue;
	if (!queue)
		return;
	const { event, fresh } = queue;
	const size = Number(event.size);
	by("rings").querySelector("h2").textContent =
		`Device ${event.device} (${DEVICES[event.type] || event.type}), queue ${event.queue}: ${event.size} entries`;
	const svg = d3.select("#ring").attr("viewBox", `0 0 620 ${30 + 24 * ROWS}`);
	const descriptors = [...queue.descriptors].sort((a, b) => a[0] - b[0]).slice(0, ROWS)
		.map(([number, text]) => ({ now: fresh.descriptors.has(number), text: `${number}: ${text}` }));
	column(svg, "available", 0, 120, `available, idx = ${event.avail}`,
		ringRows(queue.available, fresh.index, size, Number(event.avail), fresh.step === "take" ? fresh.index : -1));
	column(svg, "descriptors", 160, 250, "descriptors: address + length, r/w, next", descriptors);
	column(svg, "used", 450, 165, `used, idx = ${event.used}`,
		ringRows(queue.used, fresh.index, size, Math.max(Number(event.used), fresh.step === "fill" ? fresh.index + 1 : 0),
			fresh.step === "fill" ? fresh.index : -1));
}

// The step

function drawSources(step) {
	by("sources").innerHTML = step.sources.map(([piece]) => RUN.sources[piece]).join("");
	[...by("sources").children].forEach((figure, n) => {
		const line = figure.querySelector(`[data-line="${step.sources[n][1]}"]`);
		if (!line)
			return;
		line.classList.add("at");
		const box = figure.querySelector("pre");
		box.scrollTop = Math.max(0, line.offsetTop - box.clientHeight / 2);
	});
}

function show(number) {
	now = Math.max(0, Math.min(steps.length - 1, number));
	const step = steps[now];
	by("seek").value = now;
	by("where").textContent = `step ${now + 1} of ${steps.length}, ${step.at.toFixed(1)} µs`;
	by("title").textContent = step.title;
	by("text").textContent = step.text;
	d3.select(".cursor").attr("x1", drawTimeline.x(now)).attr("x2", drawTimeline.x(now));
	drawWorlds(step, steps[now - 1]);
	drawPages();
	drawRings();
	drawSources(step);
}

function play() {
	if (timer) {
		timer.stop();
		timer = null;
	} else {
		timer = d3.interval(() => now < steps.length - 1 ? show(now + 1) : play(), 900);
	}
	by("play").textContent = timer ? "pause" : "play";
}

by("seek").max = steps.length - 1;
by("seek").addEventListener("input", event => show(Number(event.target.value)));
by("back").addEventListener("click", () => show(now - 1));
by("forth").addEventListener("click", () => show(now + 1));
by("play").addEventListener("click", play);
addEventListener("keydown", event => {
	if (event.target.tagName === "INPUT")
		return;
	const jump = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -steps.length, End: steps.length }[event.key];
	if (jump)
		show(now + jump);
	else if (event.key === " " && event.target.tagName !== "BUTTON")
		play();
	else
		return;
	event.preventDefault();
});
addEventListener("resize", () => { drawTimeline(); show(now); });
drawTimeline();
show(Number((location.hash.match(/\d+/) || [1])[0]) - 1);
