// What only the browser can do for the lab's tools: copy the share box's line, and step through the story by keys.
function toolKeys(lab) {
    const STEPS = { ArrowLeft: ".sv-back", ArrowRight: ".sv-next", Escape: ".sv-close" };
    let inStory = false;

    async function copied(button) {
        const box = lab.querySelector(".sv-call input");
        box.select();
        const words = button.textContent;
        try {
            await navigator.clipboard.writeText(box.value);
            button.textContent = "Copied";
        } catch {
            button.textContent = "Ctrl+C"; // the page may not write to the clipboard; the line is selected
            box.focus();
        }
        setTimeout(() => (button.textContent = words), 1500);
    }

    function clicked(event) {
        const button = event.target.closest(".sv-copy");
        if (button) copied(button);
    }

    function pressed(event) {
        const story = event.target.closest(".sv-story");
        const button = story?.querySelector(STEPS[event.key]);
        if (!button) return;
        event.preventDefault();
        event.stopPropagation();
        button.click();
    }

    function focused(event) {
        inStory = Boolean(event.target.closest(".sv-story, .sv-start"));
    }

    const left = () => (inStory = false);

    // A button that is taken away under the reader's finger leaves the focus nowhere.
    function keepFocus() {
        const nowhere = document.activeElement === document.body;
        const next = lab.querySelector(".sv-story .sv-next");
        const start = lab.querySelector(".sv-start");
        if (inStory && nowhere) (next?.offsetParent ? next : start)?.focus({ preventScroll: true });
    }

    const heard = { click: clicked, keydown: pressed, focusin: focused, pointerdown: left };
    for (const [kind, listener] of Object.entries(heard)) lab.addEventListener(kind, listener);
    return {
        keepFocus,
        dispose() {
            for (const [kind, listener] of Object.entries(heard)) lab.removeEventListener(kind, listener);
        },
    };
}
