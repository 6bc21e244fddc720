package qupath.lib.plugins.workflow

class DefaultScriptableWorkflowStep {
    final String name, script
    final Map<String, ?> parameters
    DefaultScriptableWorkflowStep(String name, Map<String, ?> parameters, String script) {
        this.name = name
        this.parameters = parameters
        this.script = script
    }
}

class Workflow {
    final List<DefaultScriptableWorkflowStep> steps = []
    void addStep(DefaultScriptableWorkflowStep step) { steps << step }
}
