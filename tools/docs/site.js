// SPDX-License-Identifier: GPL-2.0
// Menu, theme, copy buttons, search. Everything works from a file URL: no fetch, no modules.
"use strict";

const menu = document.getElementById("menu");
const nav = document.getElementById("nav");
menu.addEventListener("click", () => menu.setAttribute("aria-expanded", nav.classList.toggle("open")));

document.getElementById("theme").addEventListener("click", () => {
	const root = document.documentElement;
	const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
	root.dataset.theme = dark ? "light" : "dark";
	try { localStorage.theme = root.dataset.theme; } catch { /* a browser that keeps nothing for files */ }
});

// What is copied from a run is what was typed; from a listing, the code without its numbers.
function text(pre) {
	if (!pre.classList.contains("run"))
		return pre.querySelector("code").textContent;
	return [...pre.querySelectorAll("b")].map(line => line.textContent.replace(/^(\(gdb\)|host#|\$|>) /, "")).join("\n");
}

function copied(words) {
	const area = document.createElement("textarea");
	area.value = words;
	document.body.append(area);
	area.select();
	const done = document.execCommand("copy");
	area.remove();
	return done;
}

for (const pre of document.querySelectorAll("pre")) {
	const button = document.createElement("button");
	button.className = "copy";
	button.textContent = "Copy";
	button.addEventListener("click", async () => {
		try {
			await navigator.clipboard.writeText(text(pre));
			button.textContent = "Copied";
		} catch {
			button.textContent = copied(text(pre)) ? "Copied" : "Select and copy";
		}
	});
	pre.append(button);
}

const box = document.getElementById("search");
const found = document.getElementById("found");
let index = null;

function search() {
	if (!index) {
		index = new MiniSearch({ fields: ["title", "page", "text"], storeFields: ["title", "page", "url"],
			searchOptions: { prefix: true, fuzzy: 0.15, boost: { title: 3, page: 2 }, combineWith: "AND" } });
		index.addAll(SEARCH_DATA);
	}
	const hits = box.value.trim() ? index.search(box.value).slice(0, 12) : [];
	found.replaceChildren(...hits.map(hit => {
		const item = document.createElement("li");
		const link = document.createElement("a");
		const page = document.createElement("small");
		link.href = hit.url;
		link.textContent = hit.title;
		page.textContent = hit.page;
		link.append(page);
		item.append(link);
		return item;
	}));
	if (box.value.trim() && !hits.length)
		found.textContent = "Nothing found";
	found.hidden = !box.value.trim();
	box.setAttribute("aria-expanded", !found.hidden);
}

box.addEventListener("input", search);
addEventListener("keydown", event => {
	const links = [...found.querySelectorAll("a")];
	const at = links.indexOf(document.activeElement);
	if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
		event.preventDefault();
		box.focus();
	} else if (event.key === "Escape" && !found.hidden) {
		box.value = "";
		search();
		box.focus();
	} else if (event.key === "ArrowDown" && !found.hidden && links[at + 1]) {
		event.preventDefault();
		links[at + 1].focus();
	} else if (event.key === "ArrowUp" && at >= 0) {
		event.preventDefault();
		(links[at - 1] || box).focus();
	} else if (event.key === "Enter" && document.activeElement === box && links[0]) {
		location = links[0].href;
	}
});
