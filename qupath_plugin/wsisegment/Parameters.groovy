package wsisegment

import groovy.transform.CompileStatic

import javafx.scene.control.CheckBox
import javafx.scene.control.ComboBox
import javafx.scene.control.TextField
import javafx.scene.control.TitledPane

/** The part of the panel for what a job takes, and what becomes of its result. */
@CompileStatic
class Parameters {
    private static final String SERVERS = "the server's"
    private static final Map<String, String> OBJECTS = ['no objects': '', 'annotations': 'annotations', 'detections': 'detections']

    final TextField mpp = Form.field('mpp', '', '', 'µm per pixel of the full resolution, for slides that state none or a wrong one')
    private final Map<String, TextField> numbers
    private final Map<String, ComboBox<String>> choices
    private final Map<String, CheckBox> flags
    private final ComboBox<String> objects
    final TitledPane section

    Parameters(Settings settings) {
        numbers = [
            overlap : number('overlap', settings, SERVERS, 'Share of a window that its neighbour covers too, 0 to 0.9'),
            window  : number('window', settings, SERVERS, 'Pixels of the side that the network sees at once'),
            min_area: number('min_area', settings, '0', 'Smaller pieces and holes are left out, µm²'),
        ]
        choices = [
            tissue   : choice('tissue', settings, ['otsu', 'none'], 'How tissue is found; none segments all of the slide'),
            precision: choice('precision', settings, ['auto', 'fp32', 'fp16', 'bf16', 'int8'], 'Numbers that the network computes with'),
        ]
        flags = [
            overlay      : flag('overlay', settings, 'Overlay', 'The mask over the slide'),
            measurements : flag('measurements', settings, 'Areas as measurements', 'On the image, or on the annotations and cores'),
            strict       : flag('strict', settings, 'Refuse doubtful slides', 'A warning about the slide makes the job fail'),
            apply_icc    : flag('apply_icc', settings, 'Apply the colour profile', 'Colours as the profile in the slide says'),
            probabilities: flag('probabilities', settings, 'Keep probabilities', 'The server keeps those of every class beside the mask'),
        ]
        objects = Form.choice('objects', OBJECTS.keySet() as List<String>, settings.flag('detections') ? 'detections' : settings.flag('annotations') ? 'annotations' : 'no objects', 'Detections are lighter, annotations can be corrected')
        section = Form.section('parameters', 'Parameters', true,
            Form.grid(['Pixel size, µm': mpp, 'Overlap': numbers.overlap, 'Tissue': choices.tissue, 'Objects': objects, 'Smallest piece, µm²': numbers.min_area]),
            Form.row(flags.overlay, flags.measurements),
            Form.section('more', 'More', false, Form.grid(['Window, px': numbers.window, 'Precision': choices.precision]), flags.strict, flags.apply_icc, flags.probabilities))
    }

    /** Put what the fields say into settings. */
    void take(Settings settings) {
        settings.set('mpp', mpp.text.trim() ?: '0')
        numbers.each { String name, TextField field -> settings.set(name, field.text.trim() ?: Settings.DEFAULTS[name]) }
        choices.each { String name, ComboBox<String> box -> settings.set(name, box.value == SERVERS ? '' : box.value) }
        flags.each { String name, CheckBox box -> settings.set(name, box.selected) }
        ['annotations', 'detections'].each { String kind -> settings.set(kind, OBJECTS[objects.value] == kind) }
    }

    /** @param stated µm per pixel that QuPath knows, 0 for none; null where no image is open */
    void ask(Double stated) {
        boolean known = stated == null || stated > 0 || mpp.text.trim()
        mpp.promptText = stated == null ? '' : stated > 0 ? String.format(Locale.ROOT, 'as in QuPath: %.4g', stated) : 'none stated: give µm per pixel'
        mpp.style = known ? '' : '-fx-border-color: #c00000;'
    }

    private static TextField number(String name, Settings settings, String prompt, String help) {
        return Form.field(name, settings.number(name) == Settings.DEFAULTS[name] ? '' : settings.text(name), prompt, help)
    }

    private static ComboBox<String> choice(String name, Settings settings, List<String> items, String help) {
        return Form.choice(name, [SERVERS] + items, settings.text(name) ?: SERVERS, help)
    }

    private static CheckBox flag(String name, Settings settings, String title, String help) {
        return Form.check(name, title, settings.flag(name), help)
    }
}
