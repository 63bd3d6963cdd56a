//! Sentences for languages that an engine understands only by a list: a few that are usual on the telephone, so that something can be said at once.

const USUAL: &[(&str, &[&str])] = &[
    (
        "es",
        &[
            "buenos días",
            "buenas tardes",
            "hola",
            "en qué puedo ayudarle",
            "un momento por favor",
            "cuál es su nombre",
            "su pedido está listo",
            "muchas gracias",
            "sí",
            "no",
            "hasta luego",
        ],
    ),
    (
        "it",
        &[
            "buongiorno",
            "buonasera",
            "come posso aiutarla",
            "un momento per favore",
            "qual è il suo nome",
            "il suo ordine è pronto",
            "grazie mille",
            "sì",
            "no",
            "arrivederci",
        ],
    ),
    (
        "fr",
        &[
            "bonjour",
            "bonsoir",
            "comment puis-je vous aider",
            "un moment s'il vous plaît",
            "quel est votre nom",
            "votre commande est prête",
            "merci beaucoup",
            "oui",
            "non",
            "au revoir",
        ],
    ),
    (
        "ca",
        &["bon dia", "bona tarda", "en què puc ajudar", "un moment si us plau", "moltes gràcies", "sí", "no", "adéu"],
    ),
    (
        "pt",
        &[
            "bom dia",
            "boa tarde",
            "como posso ajudar",
            "um momento por favor",
            "qual é o seu nome",
            "o seu pedido está pronto",
            "muito obrigado",
            "sim",
            "não",
            "até logo",
        ],
    ),
];

/// Usual sentences in a language; none where none are known here.
pub(super) fn usual(language: &str) -> Vec<String> {
    let found = USUAL.iter().find(|(known, _)| *known == language).map_or(&[][..], |(_, phrases)| phrases);
    found.iter().map(|phrase| (*phrase).to_owned()).collect()
}
