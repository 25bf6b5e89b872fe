// What the page does beyond its forms and links, which work without it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
	const all = (selector, root = document) => [...root.querySelectorAll(selector)];
	const one = (selector, root = document) => root.querySelector(selector);
	const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
	const say = (text) => { one("#said").textContent = text; };

	// A notice comes from the address; once it is shown, reloading or going back
	// should not say it again.
	const here = new URL(location.href);
	if (here.searchParams.has("done")) {
		here.searchParams.delete("done");
		here.searchParams.delete("n");
		history.replaceState(null, "", here);
	}

	// Browsers may keep a page for the Back button in spite of no-store. What
	// was secret on it is not kept.
	addEventListener("pagehide", () => {
		for (const e of all("[data-secret]")) e.textContent = "No longer shown";
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
			label.textContent = copied ? "Copied" : "Press Ctrl+C";
			button.classList.toggle("copied", copied);
			say(copied ? "Copied" : "Selected. Copy it with Control and C.");
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

	// Menus close on Escape, and when one turns to something else.
	for (const menu of all("details.menu")) {
		menu.addEventListener("keydown", (event) => {
			if (event.key !== "Escape" || !menu.open) return;
			menu.open = false;
			one("summary", menu).focus();
		});
		menu.addEventListener("focusout", (event) => {
			if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
		});
	}
	document.addEventListener("click", (event) => {
		for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
	});

	// Lists: what is selected
	const bulk = one("[data-bulk]");
	if (bulk) {
		const boxes = all('input[name="id"]');
		const every = one("[data-all]");
		const text = one("[data-count]", bulk);
		const update = () => {
			const n = boxes.filter((b) => b.checked).length;
			bulk.classList.toggle("idle", n === 0);
			text.textContent = n === 0 ? "Select tokens to change several at once" : `${n} selected`;
			for (const b of all("button", bulk)) b.disabled = n === 0;
			every.checked = n === boxes.length;
			every.indeterminate = n > 0 && n < boxes.length;
			for (const b of boxes) b.closest("tr").classList.toggle("picked", b.checked);
		};
		every.hidden = false;
		every.previousElementSibling.remove();
		every.addEventListener("change", () => {
			for (const b of boxes) b.checked = every.checked;
			update();
		});
		for (const b of boxes) b.addEventListener("change", update);
		addEventListener("pageshow", update); // browsers restore what was checked
		update();
	}

	// Lengths, in characters as people count them, not in those of JavaScript
	for (const field of all("[data-length]")) {
		const out = one(`[data-length-of="${field.id}"]`);
		const most = Number(field.dataset.length);
		const update = () => {
			const n = [...field.value].length;
			out.textContent = `${n} of ${most} characters`;
			out.classList.toggle("over", n > most);
		};
		out.hidden = false;
		field.addEventListener("input", update);
		update();
	}
});
