// What the page does beyond its forms and links, which work without it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
	const all = (selector, root = document) => [...root.querySelectorAll(selector)];
	const one = (selector, root = document) => root.querySelector(selector);
	const texts = one("#said").dataset; // in the language of the page
	const say = (text) => { one("#said").textContent = text; };

	// A notice comes from the address; once it is shown, reloading or going back
	// should not say it again.
	const here = new URL(location.href);
	if (here.searchParams.has("done")) {
		for (const name of ["done", "n", "same", "left", "id", "version"]) here.searchParams.delete(name);
		history.replaceState(null, "", here);
		// The address leads the keyboard to the row that was changed; the notice is read all the same.
		const notice = one(".flash p");
		if (notice && here.hash.startsWith("#t-")) setTimeout(() => say(notice.textContent), 200);
	}

	// Exact times are in the time zone of the browser, where the server does not know it.
	const { lang } = one(".apitoken") ?? document.documentElement;
	const exact = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "long" });
	for (const time of all("time[datetime]")) time.title = exact.format(new Date(time.dateTime));

	// Browsers may keep a page for the Back button in spite of no-store. What
	// was secret on it is not kept.
	addEventListener("pagehide", () => {
		for (const e of all("[data-secret]")) e.textContent = texts.hidden;
		for (const e of all("[data-copy]")) e.hidden = true;
	});

	// Copying
	for (const button of all("[data-copy]")) {
		const from = document.getElementById(button.dataset.copy);
		const label = one("span", button);
		const before = label.textContent;
		let timer;
		button.hidden = false;
		button.addEventListener("click", async () => {
			let copied = false;
			try {
				await navigator.clipboard.writeText(from.textContent);
				copied = true;
			} catch {
				// Without https there is no clipboard API, or it is forbidden.
				getSelection().selectAllChildren(from);
				copied = document.execCommand("copy");
			}
			label.textContent = copied ? texts.copied : texts.press;
			button.classList.toggle("copied", copied);
			say(copied ? texts.copied : texts.selected);
			clearTimeout(timer);
			timer = setTimeout(() => {
				label.textContent = before;
				button.classList.remove("copied");
				say("");
			}, 3000);
		});
	}

	// A form that makes or changes something is sent once, not by each click.
	for (const form of all("form[data-once]")) {
		let sent = false;
		form.addEventListener("submit", (event) => {
			if (sent) event.preventDefault();
			sent = true;
			form.setAttribute("aria-busy", "true");
		});
		addEventListener("pageshow", () => {
			sent = false;
			form.removeAttribute("aria-busy");
		});
	}

	// A change of many tokens goes on by itself.
	for (const form of all("form[data-continues]")) form.requestSubmit();

	// Menus close on Escape, and when one turns to something else. The arrow keys lead
	// through them.
	for (const menu of all("details[name=menu]")) {
		const summary = one("summary", menu);
		menu.addEventListener("keydown", (event) => {
			if (event.key === "Escape" && menu.open) {
				menu.open = false;
				summary.focus();
				return;
			}
			const items = all("a,button", menu);
			const at = items.indexOf(document.activeElement);
			const next = { ArrowDown: at + 1, ArrowUp: at < 0 ? items.length - 1 : at - 1, Home: 0, End: items.length - 1 }[event.key];
			if (next === undefined || items.length === 0) return;
			event.preventDefault();
			menu.open = true;
			items[(next + items.length) % items.length].focus();
		});
		menu.addEventListener("focusout", (event) => {
			if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
		});
	}
	document.addEventListener("click", (event) => {
		for (const menu of all("details[name=menu][open]")) if (!menu.contains(event.target)) menu.open = false;
	});

	// Lists: what is selected
	const bulk = one("[data-bulk]");
	if (bulk) {
		const boxes = all('input[name="id"]');
		const every = one("[data-all]");
		const text = one("[data-count]", bulk);
		const matching = one("[data-matching]", bulk); // all, on all pages
		const update = () => {
			const n = boxes.filter((b) => b.checked).length;
			bulk.classList.toggle("idle", n === 0);
			text.textContent = n === 0 ? bulk.dataset.none : bulk.dataset.some.replace("{n}", n);
			for (const b of all("button", bulk)) b.disabled = n === 0;
			every.checked = n === boxes.length;
			every.indeterminate = n > 0 && n < boxes.length;
			if (matching) {
				matching.hidden = n < boxes.length;
				if (matching.hidden) one("input", matching).checked = false;
				text.hidden = one("input", matching).checked;
			}
			for (const b of boxes) b.closest("tr").classList.toggle("picked", b.checked);
		};
		every.hidden = false;
		every.previousElementSibling.remove();
		every.addEventListener("change", () => {
			for (const b of boxes) b.checked = every.checked;
			update();
		});
		for (const b of boxes) b.addEventListener("change", update);
		matching?.addEventListener("change", update);
		addEventListener("pageshow", update); // browsers restore what was checked
		update();
	}

	// Lengths, in characters as people count them, not in those of JavaScript
	for (const field of all("[data-length]")) {
		const out = one(`[data-length-of="${field.id}"]`);
		const most = Number(field.dataset.length);
		const update = () => {
			const n = [...field.value].length;
			out.textContent = out.dataset.text.replace("{1}", n).replace("{2}", most);
			out.classList.toggle("over", n > most);
		};
		out.hidden = false;
		field.addEventListener("input", update);
		update();
	}
});
